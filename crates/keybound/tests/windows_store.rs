//! Processes of one host that share a key share its certificate, through the Windows certificate store and a named mutex. The
//! key is a fake; store and mutex are real.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use keybound::store::{
    BindingCacheKey, BindingStore as _, StoreLocation, StorePath, WindowsBindingStore,
};
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{
    Attestation, Environment, KeyRequirements, KeyStrength, ManagedIdentity, ManagedIdentityClient,
    TokenRequest,
};
use keybound_core::Guid;
use keybound_emulator::{AttestationRule, Config, Emulator, Identity};
use keybound_testing::{ChildProcess, FixedKeyProvider, PemKey, TestKey};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PROCESSES: usize = 8;
const FOLDER: &str = "KEYBOUND_TEST_FOLDER";
/// Longer than any pause of a busy machine: a process whose wait times out requests its own certificate.
const MAX_WAIT: Duration = Duration::from_secs(120);

#[test]
fn concurrent_processes_request_one_certificate() {
    let mut config = Config::default();
    config.imds.attestation = AttestationRule::Optional;
    let store = TestStore::new();
    let object = Guid::parse("22222222-0000-4000-8000-000000000000").unwrap();
    let client = Guid::parse(&store.client_id).unwrap();
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";
    let identity = Identity::user_assigned(client, object, resource.to_owned());
    config.identities = vec![identity];
    let emulator = Emulator::start(config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    put("ca.pem", emulator.ca_pem());
    put("imds", emulator.ready().imds.as_bytes());
    put("store", store.name.as_bytes());
    put("client-id", store.client_id.as_bytes());
    put("key.pem", &PemKey::generate_pem());

    let start = || ChildProcess::start(ChildProcess::of_test("child").env(FOLDER, folder.path()));
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    for process in &mut processes {
        process.expect("ready");
    }
    for process in &mut processes {
        process.send("start");
    }
    let certificates: BTreeSet<_> = processes
        .iter_mut()
        .map(|process| process.expect("certificate "))
        .collect();
    assert_eq!(certificates.len(), 1, "{certificates:?}");
    assert_eq!(emulator.counts().get("issue"), Some(&1));

    // A later process loads it too.
    let mut later = start();
    later.send("start");
    assert_eq!(later.expect("certificate "), *certificates.first().unwrap());
    assert_eq!(emulator.counts().get("issue"), Some(&1));
}

#[test]
#[ignore = "the child process of another test"]
fn child() {
    let folder = std::env::var_os(FOLDER).expect("the parent process names the folder");
    let folder = Path::new(&folder);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let text = |name: &str| String::from_utf8(read(name)).unwrap();
    let key = TestKey::over(Arc::new(PemKey::from_pem(&read("key.pem"))));
    let key = key.with_persistent_name(Some("KeyGuardRSAKey"));
    let path = StorePath::new(StoreLocation::CurrentUser, text("store"));
    let store = WindowsBindingStore::new(path, None)
        .with_load_timeout(MAX_WAIT)
        .with_lock_timeout(Duration::MAX);
    let client = ManagedIdentityClient::builder()
        .tls_engine(TlsEngine::OpenSsl)
        .environment(Environment::empty())
        .identity(ManagedIdentity::client_id(&text("client-id")).unwrap())
        .imds_endpoint(text("imds"))
        .trust(TrustAnchors::system().with_pem(&read("ca.pem")).unwrap())
        .key_providers(FixedKeyProvider::chain(Arc::new(key)))
        .binding_store(Arc::new(store))
        .build()
        .unwrap();
    println!("ready");
    std::io::stdin().lines().next().unwrap().unwrap();
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let request = TokenRequest::pop("https://vault.azure.net", requirements).timeout(MAX_WAIT);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let token = runtime.block_on(client.acquire_token(&request)).unwrap();
    let certificate = token.binding().unwrap().certificate();
    println!("certificate {}", certificate.thumbprints().x5t_s256);
    // Dropping the runtime waits until the certificate is saved.
}

/// A certificate store and an identity for this run. The store is cleared at the start and the end; it belongs to the host and
/// outlives a killed run. Mutexes are named after the identity.
struct TestStore {
    name: String,
    client_id: String,
    store: WindowsBindingStore,
}

impl TestStore {
    fn new() -> Self {
        let name = format!("KeyboundTest-{}-processes", std::process::id());
        let path = StorePath::new(StoreLocation::CurrentUser, &name);
        let store = Self {
            name,
            client_id: format!("11111111-0000-4000-8000-{:012x}", std::process::id()),
            store: WindowsBindingStore::new(path, None),
        };
        store.clear();
        store
    }

    fn clear(&self) {
        let key = BindingCacheKey {
            identity: ManagedIdentity::client_id(&self.client_id).unwrap(),
            attestation: Attestation::None,
        };
        for entry in self.store.load(&key) {
            self.store.remove(&key, &entry.certificate);
        }
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        self.clear();
    }
}
