//! A process that keeps certificates is killed at random moments; what another process then finds is whole.
//!
//! `KEYBOUND_KILLS` is the number of processes that die so: 25 where it is not set, 200 for a release.
#![cfg(test)]
#![cfg(windows)]

use keybound_core::Certificate;
use keybound_keys::windows::{PersistedCertificate, Persistence, StoreLocation, StorePath};
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
use std::time::{Duration, SystemTime};

const ALIAS: &str = "kills#att=1";
const FOLDER: &str = "KEYBOUND_TEST_FOLDER";

#[test]
fn whoever_is_killed_while_keeping_certificates_leaves_no_wrong_pair() {
    let store = OwnStore(persistence());
    let folder = tempfile::tempdir().unwrap();
    let certificates = make_certificates(folder.path());
    let mut seen = 0;
    for round in 0..kills() {
        kill_one(folder.path(), moment(round));
        let found = store.0.load(ALIAS);
        seen += found.len();
        for entry in &found {
            let expected = &certificates[entry.certificate.der()];
            assert_eq!(&entry.key_name, expected, "round {round}");
            assert_eq!(entry.endpoint, endpoint(expected), "round {round}");
        }
        // Whatever it held when it died, the next one goes on with.
        let (der, name) = certificates.iter().nth(round % certificates.len()).unwrap();
        let entry = entry(der, name);
        store.0.remove(ALIAS, &entry.certificate);
        store.0.save(ALIAS, &entry, SystemTime::UNIX_EPOCH);
        let is_there = |found: &PersistedCertificate| found.key_name == entry.key_name;
        assert!(store.0.load(ALIAS).iter().any(is_there), "round {round}");
    }
    assert!(seen > 0, "nothing was ever kept");
}

/// What the processes that die do: not a test of its own.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let persistence = persistence();
    let entries: Vec<_> = read_certificates(Path::new(&folder))
        .iter()
        .map(|(der, name)| entry(der, name))
        .collect();
    println!("{READY}");
    loop {
        for entry in &entries {
            persistence.save(ALIAS, entry, SystemTime::UNIX_EPOCH);
        }
        for entry in &entries {
            persistence.remove(ALIAS, &entry.certificate);
        }
    }
}

fn kill_one(folder: &Path, after: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready = lines.any(|line| line.unwrap().contains(READY));
    assert!(is_ready, "the process ended before it began");
    std::thread::sleep(after);
    assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Moments of half a second, spread evenly and in no order.
fn moment(round: usize) -> Duration {
    Duration::from_micros((round as u64 * 309_017) % 500_000)
}

fn kills() -> usize {
    match std::env::var("KEYBOUND_KILLS") {
        Ok(number) => number.parse().expect("KEYBOUND_KILLS is a number"),
        Err(_) => 25,
    }
}

fn persistence() -> Persistence {
    let path = StorePath::new(StoreLocation::CurrentUser, "KeyboundTest-kills");
    Persistence::in_store(path)
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
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "kills").unwrap();
    let time = |day: i64| Asn1Time::from_unix(day * 86_400).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_subject_name(&name.build()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&time(0)).unwrap();
    builder.set_not_after(&time(day)).unwrap();
    builder.sign(issuer, MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

struct OwnStore(Persistence);

impl Drop for OwnStore {
    fn drop(&mut self) {
        for entry in self.0.load(ALIAS) {
            self.0.remove(ALIAS, &entry.certificate);
        }
    }
}

const READY: &str = "keeping";
