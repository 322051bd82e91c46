//! Processes of one host that share a key share its certificate: they find each other's through the certificate store of
//! Windows, and take turns by a mutex of it. The key is a stand-in, store and mutex are real.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use keybound::keys::{
    BindingKey, KeyError, KeyErrorKind, KeyProvider, ProviderChain, SignatureScheme, SigningCost,
};
use keybound::store::{StoreLocation, StorePath, WindowsBindingStore};
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{
    Environment, KeyRequirements, KeyStrength, ManagedIdentity, ManagedIdentityClient, TokenRequest,
};
use keybound_core::Guid;
use keybound_emulator::{AttestationRule, Config, Emulator, Identity};
use keybound_keys::windows::MsalCertificateCache;
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::RsaPssSaltlen;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const PROCESSES: usize = 8;
const FOLDER: &str = "KEYBOUND_TEST_FOLDER";
/// Longer than a machine under load stands still: a process that gives up waiting requests its own certificate.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

#[test]
fn processes_that_start_at_once_have_one_certificate_issued() {
    let mut config = Config::default();
    config.imds.attestation = AttestationRule::Optional;
    let store = OwnStore::new();
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
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    put("key.pem", &key.private_key_to_pem_pkcs8().unwrap());

    let mut processes: Vec<_> = (0..PROCESSES)
        .map(|_| Process::start(folder.path()))
        .collect();
    for process in &mut processes {
        process.expect("ready");
    }
    for process in &mut processes {
        process.go();
    }
    let certificates: BTreeSet<_> = processes
        .iter_mut()
        .map(|process| process.expect("certificate "))
        .collect();
    assert_eq!(certificates.len(), 1, "{certificates:?}");
    assert_eq!(emulator.counts().get("issue"), Some(&1));

    // One that comes later finds it too.
    let mut later = Process::start(folder.path());
    later.expect("ready");
    later.go();
    assert_eq!(later.expect("certificate "), *certificates.first().unwrap());
    assert_eq!(emulator.counts().get("issue"), Some(&1));
}

/// What the processes do: not a test of its own.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let text = |name: &str| String::from_utf8(read(name)).unwrap();
    let key = PKey::private_key_from_pem(&read("key.pem")).unwrap();
    let public_key = key.public_key_to_der().unwrap();
    let key = StandIn(Arc::new(Shared { key, public_key }));
    let path = StorePath::new(StoreLocation::CurrentUser, text("store"));
    let store = WindowsBindingStore::new(path, None)
        .with_load_timeout(LONGEST_WAIT)
        .with_lock_timeout(Duration::MAX);
    let client = ManagedIdentityClient::builder()
        .tls_engine(TlsEngine::OpenSsl)
        .environment(Environment::empty())
        .identity(ManagedIdentity::client_id(&text("client-id")).unwrap())
        .imds_endpoint(text("imds"))
        .trust(TrustAnchors::system().with_pem(&read("ca.pem")).unwrap())
        .key_providers(ProviderChain::new(vec![Arc::new(key)]))
        .binding_store(Arc::new(store))
        .build()
        .unwrap();
    println!("ready");
    std::io::stdin().lines().next().unwrap().unwrap();
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let request = TokenRequest::pop("https://vault.azure.net", requirements).timeout(LONGEST_WAIT);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let token = runtime.block_on(client.acquire_token(&request)).unwrap();
    let certificate = token.binding().unwrap().certificate();
    println!("certificate {}", certificate.thumbprints().x5t_s256);
    // Dropping the runtime waits for what is being kept.
}

/// A store of this run's own, emptied at its beginning and its end: it is the host's, and outlives a run that is killed. So is
/// the identity: mutexes are named by it.
struct OwnStore {
    name: String,
    client_id: String,
    kept: MsalCertificateCache,
}

impl OwnStore {
    fn new() -> Self {
        let name = format!("KeyboundTest-{}-processes", std::process::id());
        let path = StorePath::new(StoreLocation::CurrentUser, &name);
        let own = Self {
            name,
            client_id: format!("11111111-0000-4000-8000-{:012x}", std::process::id()),
            kept: MsalCertificateCache::in_store(path),
        };
        own.clear();
        own
    }

    fn clear(&self) {
        let alias = MsalCertificateCache::alias(Some(&self.client_id), false);
        for entry in self.kept.load(&alias) {
            self.kept.remove(&alias, &entry.certificate);
        }
    }
}

impl Drop for OwnStore {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A process of [`child`]; it ends with the value.
struct Process {
    child: Child,
    says: Receiver<String>,
    said: Vec<String>,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, says) = channel();
        pass_on(child.stdout.take().unwrap(), say.clone());
        pass_on(child.stderr.take().unwrap(), say);
        Self {
            child,
            says,
            said: Vec::new(),
        }
    }

    fn go(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
    }

    /// The rest of the next line with these words.
    fn expect(&mut self, words: &str) -> String {
        loop {
            let line = self
                .says
                .recv_timeout(2 * LONGEST_WAIT)
                .unwrap_or_else(|error| {
                    panic!(
                        "a process did not say {words:?} ({error}), but:\n{}",
                        self.said.join("\n")
                    )
                });
            if let Some((_, rest)) = line.split_once(words) {
                return rest.to_owned();
            }
            self.said.push(line);
        }
    }
}

/// Until the process ends, and everybody who has the other end.
fn pass_on(from: impl Read + Send + 'static, say: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A key that stands for one that all processes open by its name.
#[derive(Clone)]
struct StandIn(Arc<Shared>);

struct Shared {
    key: PKey<Private>,
    public_key: Vec<u8>,
}

impl StandIn {
    fn signature(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let hash = match scheme.digest_len() {
            32 => Md::sha256(),
            48 => Md::sha384(),
            _ => Md::sha512(),
        };
        let mut context = PkeyCtx::new(&self.0.key)?;
        context.sign_init()?;
        let padding = if scheme.is_pss() {
            Padding::PKCS1_PSS
        } else {
            Padding::PKCS1
        };
        context.set_rsa_padding(padding)?;
        context.set_signature_md(hash)?;
        if scheme.is_pss() {
            context.set_rsa_mgf1_md(hash)?;
            context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        let mut signature = Vec::new();
        context.sign_to_vec(digest, &mut signature)?;
        Ok(signature)
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandIn")
    }
}

impl KeyProvider for StandIn {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        Ok(Arc::new(self.clone()))
    }
}

impl BindingKey for StandIn {
    fn public_key_der(&self) -> &[u8] {
        &self.0.public_key
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signature(scheme, digest)
            .map_err(|error| KeyError::new(KeyErrorKind::Failed, "no signature").with_source(error))
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn id(&self) -> &str {
        "stand-in"
    }

    fn persistent_name(&self) -> Option<&str> {
        Some("KeyGuardRSAKey")
    }

    fn signing_cost(&self) -> SigningCost {
        SigningCost::Quick
    }
}
