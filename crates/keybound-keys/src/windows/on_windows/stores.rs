use super::super::binding_store::WindowsBindingStore;
use super::super::certificate_store::{CertificateEntry, CertificateStore};
use super::super::key_prov_info::KeyProvInfo;
use super::super::native::{self, counted};
use super::super::store_path::{StoreLocation, StorePath};
use super::super::testing::certificates::{ISSUER, certificate};
use crate::memory::MemoryKey;
use crate::{BindingKey as _, BindingStore as _, StoredBinding};
use keybound_core::{Attestation, BindingCacheKey, Guid, ManagedIdentity};
use std::sync::mpsc::channel;
use std::time::Duration;

const CLIENT: &str = "11111111-2222-3333-4444-55555555555a";
const TENANT: &str = "66666666-2222-3333-4444-55555555555b";
const PROVIDER: &str = "Microsoft Software Key Storage Provider";

/// A name that is unique to this run: mutexes and stores are the host's, and outlive a run that is killed.
pub(super) fn unique(name: &str) -> String {
    format!("KeyboundTest-{}-{name}", std::process::id())
}

/// A store of one test, emptied when it is created and dropped.
pub(super) struct TestStore(pub(super) StorePath);

impl TestStore {
    pub(super) fn new(name: &str) -> Self {
        let store = Self(StorePath::new(StoreLocation::CurrentUser, unique(name)));
        store.clear();
        store
    }

    fn entries(&self) -> Vec<CertificateEntry> {
        native::api().certificates(&self.0).unwrap()
    }

    fn clear(&self) {
        for entry in self.entries() {
            native::api()
                .remove_certificate(&self.0, &entry.der)
                .unwrap();
        }
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        self.clear();
    }
}

fn binding(public_key: &[u8], day: i64) -> StoredBinding {
    StoredBinding {
        certificate: certificate(public_key, CLIENT, ISSUER, day),
        client_id: Guid::parse(CLIENT).unwrap(),
        tenant_id: Guid::parse(TENANT).unwrap(),
        identity_type: "UserAssigned".to_owned(),
        endpoint: "https://e.example".to_owned(),
        token_endpoint: format!("https://e.example/{TENANT}/oauth2/v2.0/token"),
        key_name: "KeyGuardRSAKey".to_owned(),
    }
}

/// The key of an identity that is unique to this run, since mutexes are named by it.
fn cache_key(name: &str) -> BindingCacheKey {
    let resource_id = format!("/subscriptions/s/resourceGroups/{}", unique(name));
    BindingCacheKey {
        identity: ManagedIdentity::resource_id(&resource_id).unwrap(),
        attestation: Attestation::Attested,
    }
}

#[test]
fn stores_certificates_in_the_format_of_msal() {
    let store = TestStore::new("msal");
    let key = MemoryKey::generate().unwrap();
    let bindings = WindowsBindingStore::new(store.0.clone(), None);
    let cache_key = cache_key("id");
    let saved = [20_000, 30_000].map(|day| binding(key.public_key_der(), day));
    for binding in &saved {
        bindings.save(&cache_key, binding);
    }
    let mut loaded = bindings.load(&cache_key);
    loaded.sort_by_key(|binding| binding.certificate.not_after());
    assert_eq!(loaded, saved);
    let entries = store.entries();
    assert_eq!(entries.len(), 2);
    let id = cache_key.identity.configured_id().unwrap();
    for entry in entries {
        assert_eq!(
            entry.friendly_name,
            format!("MSAL|alias={id}#att=1|ep=https://e.example/{TENANT}")
        );
        let info = KeyProvInfo::cng(PROVIDER, "KeyGuardRSAKey");
        assert_eq!(entry.key, Some(info));
    }
    bindings.remove(&cache_key, &saved[0].certificate);
    assert_eq!(bindings.load(&cache_key), [saved[1].clone()]);
    assert_eq!(counted::open(), 0);
}

#[test]
fn a_missing_store_is_empty() {
    let path = StorePath::new(StoreLocation::CurrentUser, unique("none"));
    assert!(native::api().certificates(&path).unwrap().is_empty());
    assert_eq!(counted::open(), 0);
}

#[test]
fn removes_only_certificates_of_lost_keys_that_name_the_container() {
    let store = TestStore::new("lost");
    let [lost, new] = [(); 2].map(|()| MemoryKey::generate().unwrap());
    let entries = [
        ("lost", &lost, ISSUER, "KeyGuardRSAKey"),
        ("new", &new, ISSUER, "KeyGuardRSAKey"),
        ("other container", &lost, ISSUER, "KeyboundSoftwareKey"),
        ("other issuer", &lost, "another", "KeyGuardRSAKey"),
    ];
    for (name, key, issuer, container) in entries {
        let entry = CertificateEntry {
            der: certificate(key.public_key_der(), name, issuer, 30_000)
                .der()
                .to_vec(),
            friendly_name: name.to_owned(),
            key: Some(KeyProvInfo::cng(PROVIDER, container)),
        };
        native::api().add_certificate(&store.0, &entry).unwrap();
    }
    let certificate_store = CertificateStore {
        api: native::api(),
        path: store.0.clone(),
    };
    let info = KeyProvInfo::cng(PROVIDER, "KeyGuardRSAKey");
    certificate_store.remove_of_lost_keys(&info, new.public_key_der());
    let mut remaining: Vec<_> = store
        .entries()
        .into_iter()
        .map(|entry| entry.friendly_name)
        .collect();
    remaining.sort();
    assert_eq!(remaining, ["new", "other container", "other issuer"]);
    assert_eq!(counted::open(), 0);
}

#[test]
fn leaves_no_handle_open_in_a_thousand_loads() {
    let store = TestStore::new("loads");
    let key = MemoryKey::generate().unwrap();
    let bindings = WindowsBindingStore::new(store.0.clone(), None);
    let cache_key = cache_key("loads");
    bindings.save(&cache_key, &binding(key.public_key_der(), 30_000));
    for _ in 0..1000 {
        assert_eq!(bindings.load(&cache_key).len(), 1);
    }
    assert_eq!(counted::open(), 0);
}

#[test]
fn an_issuance_lock_moves_between_threads_and_is_released_when_dropped() {
    let store = TestStore::new("lock");
    let bindings = WindowsBindingStore::new(store.0.clone(), None);
    let impatient = bindings.clone().with_lock_timeout(Duration::ZERO);
    let patient = bindings.with_lock_timeout(Duration::from_secs(10));
    let [key, other] = ["lock", "other"].map(cache_key);
    let (send, receive) = channel();
    send.send(impatient.lock_issuance(&key).unwrap()).unwrap();
    assert!(impatient.lock_issuance(&key).is_none());
    assert!(impatient.lock_issuance(&other).is_some());
    std::thread::spawn(move || drop(receive.recv()))
        .join()
        .unwrap();
    assert!(patient.lock_issuance(&key).is_some());
}
