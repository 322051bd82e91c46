//! A process that keeps certificates is killed at random moments; what another process then finds is whole.
//!
//! `KEYBOUND_KILLS` is the number of processes that die so: 200 where it is not set.
#![cfg(test)]
#![cfg(windows)]

use keybound_core::Certificate;
use keybound_keys::windows::{
    MsalCertificateCache, PersistedCertificate, StoreLocation, StorePath,
};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509Builder, X509NameBuilder};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

const FOLDER: &str = "KEYBOUND_TEST_FOLDER";
const STORE: &str = "KEYBOUND_TEST_STORE";
/// So many die at a time, each with a store and an alias of its own, so that none of them waits for another.
const AT_ONCE: usize = 4;

#[test]
fn a_process_that_is_killed_while_it_saves_certificates_leaves_no_wrong_pair() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = make_certificates(folder.path());
    let seen: usize = std::thread::scope(|scope| {
        let (folder, certificates) = (folder.path(), &certificates);
        let rounds = |first: usize| (first..kills()).step_by(AT_ONCE);
        let killers: Vec<_> = (0..AT_ONCE)
            .map(|first| scope.spawn(move || kill_all(rounds(first), first, folder, certificates)))
            .collect();
        killers
            .into_iter()
            .map(|killer| killer.join().unwrap())
            .sum()
    });
    assert!(seen > 0, "nothing was ever kept");
}

/// Kills one process in each round. How many entries of theirs were found.
fn kill_all(
    rounds: impl Iterator<Item = usize>,
    number: usize,
    folder: &Path,
    certificates: &BTreeMap<Vec<u8>, String>,
) -> usize {
    // Stores are the whole host's, and outlive a run that is killed.
    let name = format!("KeyboundTest-{}-kills-{number}", std::process::id());
    let alias = alias(&name);
    let store = OwnStore::new(&name);
    let (mut seen, mut ours) = (0, None);
    for round in rounds {
        kill_one(folder, &name, moment(round));
        let found = store.0.load(&alias);
        for entry in &found {
            seen += usize::from(ours.as_deref() != Some(entry.certificate.der()));
            let expected = &certificates[entry.certificate.der()];
            assert_eq!(&entry.key_name, expected, "round {round}");
            assert_eq!(entry.endpoint, endpoint(expected), "round {round}");
        }
        // Whatever it held when it died, the next one goes on with.
        let (der, name) = certificates.iter().nth(round % certificates.len()).unwrap();
        let entry = entry(der, name);
        store.0.remove(&alias, &entry.certificate);
        store.0.save(&alias, &entry, SystemTime::UNIX_EPOCH);
        let is_there = |found: &PersistedCertificate| found.key_name == entry.key_name;
        assert!(store.0.load(&alias).iter().any(is_there), "round {round}");
        ours = Some(der.clone());
    }
    seen
}

/// What the processes that die do: not a test of its own.
#[test]
fn child() {
    let (Some(folder), Ok(name)) = (std::env::var_os(FOLDER), std::env::var(STORE)) else {
        return;
    };
    let (persistence, alias) = (persistence(&name), alias(&name));
    let entries: Vec<_> = read_certificates(Path::new(&folder))
        .iter()
        .map(|(der, name)| entry(der, name))
        .collect();
    println!("{READY}");
    loop {
        for entry in &entries {
            persistence.save(&alias, entry, SystemTime::UNIX_EPOCH);
        }
        for entry in &entries {
            persistence.remove(&alias, &entry.certificate);
        }
    }
}

fn kill_one(folder: &Path, store: &str, after: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(STORE, store)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (say, says) = channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = say.send(line);
        }
    });
    let mut said = Vec::new();
    while !said
        .last()
        .is_some_and(|line: &String| line.contains(READY))
    {
        match says.recv_timeout(LONGEST_START) {
            Ok(line) => said.push(line),
            Err(error) => {
                let _ = child.kill();
                panic!("the process did not begin ({error}); it said {said:?}");
            }
        }
    }
    std::thread::sleep(after);
    assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}

/// Moments of a quarter of a second, in which all is kept and removed several times, spread evenly and in no order.
fn moment(round: usize) -> Duration {
    Duration::from_micros((round as u64 * 154_509) % 250_000)
}

fn kills() -> usize {
    match std::env::var("KEYBOUND_KILLS") {
        Ok(number) => number.parse().expect("KEYBOUND_KILLS is a number"),
        Err(_) => 200,
    }
}

/// Mutexes are named by the alias.
fn alias(store: &str) -> String {
    MsalCertificateCache::alias(Some(store), true)
}

/// It waits longer for the mutex than a machine under load stands still.
fn persistence(store: &str) -> MsalCertificateCache {
    let path = StorePath::new(StoreLocation::CurrentUser, store);
    MsalCertificateCache::in_store(path).with_longest_wait(Duration::from_secs(60))
}

fn endpoint(key_name: &str) -> String {
    format!("https://{key_name}.example/tenant")
}

fn entry(der: &[u8], key_name: &str) -> PersistedCertificate {
    let certificate = Certificate::from_der(der).unwrap();
    PersistedCertificate::new(certificate, endpoint(key_name), key_name)
}

/// Two certificates for each of three keys, by their DER, with the names of their keys.
fn make_certificates(folder: &Path) -> BTreeMap<Vec<u8>, String> {
    let issuer = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    for number in 0..3 {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        for day in [20_000, 30_000] {
            let der = certificate(&key, &issuer, day);
            fs::write(folder.join(format!("Key{number}-{day}")), der).unwrap();
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

fn certificate(key: &PKey<Private>, issuer: &PKey<Private>, day: i64) -> Vec<u8> {
    let name = |common_name: &str| {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", common_name).unwrap();
        name.build()
    };
    let time = |day: i64| Asn1Time::from_unix(day * 86_400).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_subject_name(&name("kills")).unwrap();
    builder.set_issuer_name(&name(ISSUER)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&time(day - 14)).unwrap();
    builder.set_not_after(&time(day)).unwrap();
    builder.sign(issuer, MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

/// A store with its alias, emptied at its beginning and its end.
struct OwnStore(MsalCertificateCache, String);

impl OwnStore {
    fn new(name: &str) -> Self {
        let own = Self(persistence(name), alias(name));
        own.clear();
        own
    }

    fn clear(&self) {
        for entry in self.0.load(&self.1) {
            self.0.remove(&self.1, &entry.certificate);
        }
    }
}

impl Drop for OwnStore {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What names another issuer is passed over.
const ISSUER: &str = "managedidentitysnissuer.login.microsoft.com";
const READY: &str = "keeping";
const LONGEST_START: Duration = Duration::from_secs(120);
