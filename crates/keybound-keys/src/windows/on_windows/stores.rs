use super::super::msal_certificate_cache::{
    CertificateStore as _, Entry, KeyPlace, MsalCertificateCache, PersistedCertificate,
};
use super::super::native::certificate_store::SystemCertificateStore;
use super::super::native::counted;
use super::super::native::store::{StoreLocation, StorePath};
use super::super::testing::{ISSUER, certificate};
use crate::BindingKey as _;
use crate::memory::MemoryKey;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

/// A name of this run's own: mutexes and stores are the whole host's, and outlive a run that is killed.
pub(super) fn own(name: &str) -> String {
    format!("KeyboundTest-{}-{name}", std::process::id())
}

/// A store of this test's own, emptied at its beginning and its end.
pub(super) struct OwnStore(pub(super) StorePath);

impl OwnStore {
    pub(super) fn new(name: &str) -> Self {
        let own = Self(StorePath::new(StoreLocation::CurrentUser, own(name)));
        own.clear();
        own
    }

    pub(super) fn certificate_store(&self) -> SystemCertificateStore {
        SystemCertificateStore::new(self.0.clone())
    }

    fn clear(&self) {
        for entry in self.certificate_store().entries().unwrap() {
            self.certificate_store().remove(&entry.der).unwrap();
        }
    }
}

impl Drop for OwnStore {
    fn drop(&mut self) {
        self.clear();
    }
}

fn entry(public_key: &[u8], day: i64) -> PersistedCertificate {
    let certificate = certificate(public_key, "client", ISSUER, day);
    PersistedCertificate::new(certificate, "https://e.example/tenant", "KeyGuardRSAKey")
}

#[test]
fn certificates_are_kept_as_msal_keeps_them() {
    let store = OwnStore::new("msal");
    let key = MemoryKey::generate().unwrap();
    let persistence = MsalCertificateCache::in_store(store.0.clone());
    let id = own("id");
    let alias = MsalCertificateCache::alias(Some(&id), true);
    let kept = [20_000, 30_000].map(|day| entry(key.public_key_der(), day));
    for entry in &kept {
        persistence.save(&alias, entry, SystemTime::UNIX_EPOCH);
    }
    assert_eq!(persistence.load(&alias), [kept[1].clone(), kept[0].clone()]);
    let entries = store.certificate_store().entries().unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert_eq!(
            entry.friendly_name,
            format!("MSAL|alias={id}#att=1|ep=https://e.example/tenant")
        );
        let place = KeyPlace {
            provider: "Microsoft Software Key Storage Provider".to_owned(),
            name: "KeyGuardRSAKey".to_owned(),
            machine: false,
            legacy: false,
        };
        assert_eq!(entry.key, Some(place));
    }
    persistence.remove(&alias, &kept[0].certificate);
    assert_eq!(persistence.load(&alias), [kept[1].clone()]);
    assert_eq!(counted::open(), 0);
}

#[test]
fn a_store_that_is_not_there_is_empty() {
    let path = StorePath::new(StoreLocation::CurrentUser, own("none"));
    assert!(
        SystemCertificateStore::new(path)
            .entries()
            .unwrap()
            .is_empty()
    );
    assert_eq!(counted::open(), 0);
}

#[test]
fn of_a_lost_key_the_certificates_that_name_its_container_go() {
    let store = OwnStore::new("purge");
    let [lost, new] = [(); 2].map(|()| MemoryKey::generate().unwrap());
    let place = |name: &str| KeyPlace {
        provider: "Microsoft Software Key Storage Provider".to_owned(),
        name: name.to_owned(),
        machine: false,
        legacy: false,
    };
    let entries = [
        ("lost", &lost, ISSUER, "KeyGuardRSAKey"),
        ("new", &new, ISSUER, "KeyGuardRSAKey"),
        ("another container's", &lost, ISSUER, "KeyboundSoftwareKey"),
        ("another issuer's", &lost, "somebody else", "KeyGuardRSAKey"),
    ];
    for (name, key, issuer, container) in entries {
        let entry = Entry {
            der: certificate(key.public_key_der(), name, issuer, 30_000)
                .der()
                .to_vec(),
            friendly_name: name.to_owned(),
            key: Some(place(container)),
        };
        store.certificate_store().add(&entry).unwrap();
    }
    let persistence = MsalCertificateCache::in_store(store.0.clone());
    persistence.purge(&place("KeyGuardRSAKey"), new.public_key_der());
    let mut left: Vec<_> = store
        .certificate_store()
        .entries()
        .unwrap()
        .into_iter()
        .map(|entry| entry.friendly_name)
        .collect();
    left.sort();
    assert_eq!(left, ["another container's", "another issuer's", "new"]);
    assert_eq!(counted::open(), 0);
}

#[test]
fn no_handle_is_left_open_in_a_thousand_looks() {
    let store = OwnStore::new("looks");
    let key = MemoryKey::generate().unwrap();
    let persistence = MsalCertificateCache::in_store(store.0.clone());
    let alias = own("looks");
    persistence.save(
        &alias,
        &entry(key.public_key_der(), 30_000),
        SystemTime::UNIX_EPOCH,
    );
    for _ in 0..1000 {
        assert_eq!(persistence.load(&alias).len(), 1);
    }
    assert_eq!(counted::open(), 0);
}

#[test]
fn a_turn_goes_from_thread_to_thread_and_ends_when_it_is_dropped() {
    let store = OwnStore::new("turn");
    let persistence = MsalCertificateCache::in_store(store.0.clone());
    let [turn, another] = ["turn", "another"].map(own);
    let (give, take) = channel();
    give.send(persistence.take_turn(&turn, Duration::ZERO).unwrap())
        .unwrap();
    assert!(persistence.take_turn(&turn, Duration::ZERO).is_none());
    assert!(persistence.take_turn(&another, Duration::ZERO).is_some());
    std::thread::spawn(move || drop(take.recv()))
        .join()
        .unwrap();
    assert!(
        persistence
            .take_turn(&turn, Duration::from_secs(10))
            .is_some()
    );
}
