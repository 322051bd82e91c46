//! Processes that store certificates are killed at random times; the entries that another process then loads are complete.
//!
//! `KEYBOUND_KILLS` is the number of killed processes, by default 200.
#![cfg(test)]
#![cfg(windows)]

use keybound_core::{Attestation, BindingCacheKey, Certificate, Guid, ManagedIdentity};
use keybound_keys::windows::{StoreLocation, StorePath, WindowsBindingStore};
use keybound_keys::{BindingStore as _, StoredBinding};
use keybound_testing::{CertificateBuilder, ChildProcess};
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const FOLDER: &str = "KEYBOUND_TEST_FOLDER";
const STORE: &str = "KEYBOUND_TEST_STORE";
/// The number of concurrent processes. Each has a separate store and identity, so that none waits for another.
const CONCURRENT: usize = 4;

#[test]
fn a_process_killed_while_saving_leaves_no_incomplete_entry() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = create_certificates(folder.path());
    let loaded: usize = std::thread::scope(|scope| {
        let (folder, certificates) = (folder.path(), &certificates);
        let rounds = |first: usize| (first..kills()).step_by(CONCURRENT);
        let killers: Vec<_> = (0..CONCURRENT)
            .map(|first| scope.spawn(move || kill_all(rounds(first), first, folder, certificates)))
            .collect();
        killers
            .into_iter()
            .map(|killer| killer.join().unwrap())
            .sum()
    });
    assert!(loaded > 0, "no entry was ever stored");
}

/// Kills one process in each round. Returns the number of loaded entries that the processes had stored.
fn kill_all(
    rounds: impl Iterator<Item = usize>,
    number: usize,
    folder: &Path,
    certificates: &BTreeMap<Vec<u8>, String>,
) -> usize {
    // Stores are the host's, and outlive a run that is killed.
    let name = format!("KeyboundTest-{}-kills-{number}", std::process::id());
    let key = cache_key(&name);
    let store = TestStore::new(&name);
    let (mut loaded, mut own) = (0, None);
    for round in rounds {
        kill_one(folder, &name, delay(round));
        for entry in store.0.load(&key) {
            loaded += usize::from(own.as_deref() != Some(entry.certificate.der()));
            let expected = &certificates[entry.certificate.der()];
            assert_eq!(&entry.key_name, expected, "round {round}");
            assert_eq!(entry.endpoint, endpoint(expected), "round {round}");
        }
        // Another process can still write, whatever the killed one held.
        let (der, key_name) = certificates.iter().nth(round % certificates.len()).unwrap();
        let entry = binding(der, key_name);
        let start = Instant::now();
        // On a machine under load a write may not get the mutex in time, and is then skipped.
        while !is_saved(&store.0, &key, &entry) {
            assert!(start.elapsed() < MAX_WRITE, "round {round}");
        }
        own = Some(der.clone());
    }
    loaded
}

fn is_saved(store: &WindowsBindingStore, key: &BindingCacheKey, entry: &StoredBinding) -> bool {
    store.remove(key, &entry.certificate);
    store.save(key, entry);
    store.load(key).contains(entry)
}

/// The process that is killed.
#[test]
#[ignore = "the child process of another test"]
fn child() {
    let folder = std::env::var_os(FOLDER).expect("the parent process names the folder");
    let name = std::env::var(STORE).expect("the parent process names the store");
    let (store, key) = (store(&name), cache_key(&name));
    let entries: Vec<_> = read_certificates(Path::new(&folder))
        .iter()
        .map(|(der, key_name)| binding(der, key_name))
        .collect();
    println!("{READY}");
    loop {
        for entry in &entries {
            store.save(&key, entry);
        }
        for entry in &entries {
            store.remove(&key, &entry.certificate);
        }
    }
}

fn kill_one(folder: &Path, store: &str, after: Duration) {
    let mut command = ChildProcess::of_test("child");
    let mut process = ChildProcess::start(command.env(FOLDER, folder).env(STORE, store));
    process.expect(READY);
    std::thread::sleep(after);
    assert_eq!(process.child.try_wait().unwrap(), None, "it exited");
}

/// Evenly spread delays up to a quarter of a second, in which all entries are saved and removed several times.
fn delay(round: usize) -> Duration {
    Duration::from_micros((round as u64 * 154_509) % 250_000)
}

fn kills() -> usize {
    match std::env::var("KEYBOUND_KILLS") {
        Ok(number) => number.parse().expect("KEYBOUND_KILLS is a number"),
        Err(_) => 200,
    }
}

/// The key of an identity that is unique to the store: mutexes are named by the identity.
fn cache_key(store: &str) -> BindingCacheKey {
    let resource_id = format!("/subscriptions/s/resourceGroups/{store}");
    BindingCacheKey {
        identity: ManagedIdentity::resource_id(&resource_id).unwrap(),
        attestation: Attestation::Attested,
    }
}

fn store(name: &str) -> WindowsBindingStore {
    WindowsBindingStore::new(StorePath::new(StoreLocation::CurrentUser, name), None)
}

fn endpoint(key_name: &str) -> String {
    format!("https://{key_name}.example")
}

fn binding(der: &[u8], key_name: &str) -> StoredBinding {
    let endpoint = endpoint(key_name);
    StoredBinding {
        certificate: Certificate::from_der(der).unwrap(),
        client_id: Guid::parse(CLIENT).unwrap(),
        tenant_id: Guid::parse(TENANT).unwrap(),
        identity_type: "UserAssigned".to_owned(),
        token_endpoint: format!("{endpoint}/{TENANT}/oauth2/v2.0/token"),
        endpoint,
        key_name: key_name.to_owned(),
    }
}

/// Two certificates for each of three keys: the names of their keys by their DER.
fn create_certificates(folder: &Path) -> BTreeMap<Vec<u8>, String> {
    let issuer = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    for key_name in KEY_NAMES {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        for day in [20_000, 30_000] {
            let der = certificate(&key, &issuer, day);
            fs::write(folder.join(format!("{key_name}-{day}")), der).unwrap();
        }
    }
    read_certificates(folder)
}

fn read_certificates(folder: &Path) -> BTreeMap<Vec<u8>, String> {
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let key_name = name.split('-').next().unwrap().to_owned();
        (fs::read(entry.path()).unwrap(), key_name)
    };
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| read(entry.unwrap())).collect()
}

fn certificate(key: &PKey<Private>, issuer: &PKey<Private>, day: u64) -> Vec<u8> {
    let time = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
    let builder = CertificateBuilder::new(key).subject(CLIENT).issuer(ISSUER);
    let certificate = builder.validity(time(day - 14)..time(day)).sign(issuer);
    certificate.to_der().unwrap()
}

/// A store with its identity, emptied when it is created and dropped.
struct TestStore(WindowsBindingStore, BindingCacheKey);

impl TestStore {
    fn new(name: &str) -> Self {
        let own = Self(store(name), cache_key(name));
        own.clear();
        own
    }

    fn clear(&self) {
        for entry in self.0.load(&self.1) {
            self.0.remove(&self.1, &entry.certificate);
        }
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        self.clear();
    }
}

const CLIENT: &str = "11111111-2222-3333-4444-55555555555a";
const TENANT: &str = "66666666-2222-3333-4444-55555555555b";
/// The keys of the platform: a store ignores others.
const KEY_NAMES: [&str; 3] = [
    "KeyGuardRSAKey",
    "KeyboundPlatformKey",
    "KeyboundSoftwareKey",
];
/// A store ignores certificates of other issuers.
const ISSUER: &str = "managedidentitysnissuer.login.microsoft.com";
const READY: &str = "storing";
const MAX_WRITE: Duration = Duration::from_secs(60);
