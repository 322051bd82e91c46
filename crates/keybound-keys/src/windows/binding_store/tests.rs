//! Which certificates are loaded, saved and removed.
use super::*;
use crate::BindingKey as _;
use crate::memory::MemoryKey;
use crate::windows::status::Status;
use crate::windows::testing::certificates as testing;
use crate::windows::testing::fake_windows::{FakeWindows, State};
use keybound_core::{Attestation, Guid, ManagedIdentity};
use std::sync::LazyLock;

const CLIENT: &str = "11111111-2222-3333-4444-55555555555a";
const TENANT: &str = "66666666-2222-3333-4444-55555555555b";
const SOFTWARE: &str = "Microsoft Software Key Storage Provider";
const PLATFORM: &str = "Microsoft Platform Crypto Provider";
const KEYGUARD_KEY: &str = "KeyGuardRSAKey";
const SOFTWARE_KEY: &str = "KeyboundSoftwareKey";

static KEYS: LazyLock<[MemoryKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| MemoryKey::generate().unwrap()));

fn cache_key(id: &str, attestation: Attestation) -> BindingCacheKey {
    BindingCacheKey {
        identity: ManagedIdentity::client_id(id).unwrap(),
        attestation,
    }
}

fn attested() -> BindingCacheKey {
    cache_key(CLIENT, Attestation::Attested)
}

fn other() -> BindingCacheKey {
    cache_key(TENANT, Attestation::Attested)
}

fn certificate(key: &MemoryKey, day: i64) -> Certificate {
    testing::certificate(key.public_key_der(), CLIENT, testing::ISSUER, day)
}

fn binding_of(certificate: Certificate, key_name: &str) -> StoredBinding {
    StoredBinding {
        certificate,
        client_id: Guid::parse(CLIENT).unwrap(),
        tenant_id: Guid::parse(TENANT).unwrap(),
        identity_type: "UserAssigned".to_owned(),
        endpoint: "https://e.example".to_owned(),
        token_endpoint: format!("https://e.example/{TENANT}/oauth2/v2.0/token"),
        key_name: key_name.to_owned(),
    }
}

fn binding(key: &MemoryKey, day: i64, key_name: &str) -> StoredBinding {
    binding_of(certificate(key, day), key_name)
}

fn friendly_name(id: &str) -> String {
    format!("MSAL|alias={id}#att=1|ep=https://e.example/{TENANT}")
}

/// The entry of a binding of [`attested`].
fn entry(binding: &StoredBinding) -> CertificateEntry {
    CertificateEntry {
        der: binding.certificate.der().to_vec(),
        friendly_name: FriendlyName::new(&attested(), binding)
            .unwrap()
            .encode()
            .unwrap(),
        key: Some(KeyProvInfo::cng(SOFTWARE, &binding.key_name)),
    }
}

fn store() -> (Arc<FakeWindows>, WindowsBindingStore) {
    let windows = FakeWindows::new();
    let api = Arc::new(Arc::clone(&windows));
    let store = WindowsBindingStore::with_api(api, StorePath::current_user_my(), None);
    (windows, store)
}

fn store_with(change: impl FnOnce(&mut State)) -> (Arc<FakeWindows>, WindowsBindingStore) {
    let (windows, store) = store();
    windows.with(change);
    (windows, store)
}

fn entries(windows: &FakeWindows) -> Vec<CertificateEntry> {
    windows.with(|state| state.certificates.clone())
}

fn add(windows: &FakeWindows, entry: CertificateEntry) {
    windows.with(|state| state.certificates.push(entry));
}

fn names(windows: &FakeWindows) -> Vec<String> {
    let entries = entries(windows).into_iter();
    entries.map(|entry| entry.friendly_name).collect()
}

#[test]
fn loads_saved_certificates() {
    let (windows, store) = store();
    let bindings = [20, 30].map(|day| binding(&KEYS[0], day, KEYGUARD_KEY));
    for binding in &bindings {
        store.save(&attested(), binding);
    }
    assert_eq!(store.load(&attested()), bindings);
    let unattested = cache_key(CLIENT, Attestation::None);
    let upper_case = cache_key(&CLIENT.to_uppercase(), Attestation::Attested);
    assert!(store.load(&unattested).is_empty() && store.load(&upper_case).is_empty());
    let saved = &entries(&windows)[0];
    assert_eq!(saved.friendly_name, friendly_name(CLIENT));
    assert_eq!(saved.key, Some(KeyProvInfo::cng(SOFTWARE, KEYGUARD_KEY)));
    // As MSAL .NET, which waits 300 ms.
    let name = MutexName::of_entries(&format!("{CLIENT}#att=1"));
    let lock = format!("lock {name:?} 300ms");
    let calls = windows.with(|state| state.calls.clone());
    assert_eq!(calls.iter().filter(|call| **call == lock).count(), 2);
}

#[test]
fn a_certificate_expires_at_the_earlier_of_its_two_ends() {
    let (_, store) = store();
    let of = |key: &MemoryKey, not_after, token_not_after| {
        let days = 0..not_after;
        let public_key = key.public_key_der();
        let certificate =
            testing::certificate_with_token_end(public_key, CLIENT, days, token_not_after);
        binding_of(certificate, KEYGUARD_KEY)
    };
    // None of one key is superseded by the next.
    let first = of(&KEYS[0], 30, 5);
    let second = of(&KEYS[0], 20, 15);
    let third = of(&KEYS[1], 25, 10);
    for binding in [&first, &second, &third] {
        store.save(&attested(), binding);
    }
    let loaded = store.load(&attested());
    assert_eq!(loaded, [first.clone(), second, third.clone()]);
    // One whose tokens expire later is superseded, although the new certificate expires later.
    let fourth = of(&KEYS[0], 28, 12);
    store.save(&attested(), &fourth);
    assert_eq!(store.load(&attested()), [first, third, fourth]);
}

#[test]
fn certificates_for_other_keys_remain_though_they_expire_later() {
    let (_, store) = store();
    store.save(&attested(), &binding(&KEYS[0], 30, KEYGUARD_KEY));
    store.save(&attested(), &binding(&KEYS[1], 20, KEYGUARD_KEY));
    store.save(&attested(), &binding(&KEYS[0], 20, SOFTWARE_KEY));
    assert_eq!(store.load(&attested()).len(), 3);
}

#[test]
fn saving_removes_entries_without_a_key() {
    let (windows, store) = store();
    store.save(&other(), &binding(&KEYS[1], 2, KEYGUARD_KEY));
    let without_key = |friendly_name: &str, day| CertificateEntry {
        der: certificate(&KEYS[0], day).der().to_vec(),
        friendly_name: friendly_name.to_owned(),
        key: None,
    };
    add(&windows, without_key(&friendly_name(CLIENT), 90));
    add(&windows, without_key("of another program", 91));
    assert!(store.load(&attested()).is_empty());
    store.save(&attested(), &binding(&KEYS[0], 30, KEYGUARD_KEY));
    let expected = [
        &friendly_name(TENANT),
        "of another program",
        &friendly_name(CLIENT),
    ];
    assert_eq!(names(&windows), expected);
}

#[test]
fn ignores_legacy_keys_and_malformed_certificates() {
    let (windows, store) = store();
    store.save(&attested(), &binding(&KEYS[0], 30, KEYGUARD_KEY));
    let mut legacy = entries(&windows)[0].clone();
    legacy.key.as_mut().unwrap().legacy = true;
    let mut malformed = entries(&windows)[0].clone();
    malformed.der = b"garbage".to_vec();
    add(&windows, legacy);
    add(&windows, malformed);
    assert_eq!(store.load(&attested()).len(), 1);
}

#[test]
fn removes_only_certificates_of_lost_keys_that_name_the_container() {
    let (windows, store) = store();
    let [lost, new] = &*KEYS;
    let info = KeyProvInfo::cng(SOFTWARE, KEYGUARD_KEY);
    let upper_case = KeyProvInfo::cng(SOFTWARE, "KEYGUARDRSAKEY");
    let other_container = KeyProvInfo::cng(SOFTWARE, "K");
    let other_provider = KeyProvInfo::cng("Another", KEYGUARD_KEY);
    let machine = KeyProvInfo {
        machine: true,
        ..info.clone()
    };
    let issuer = testing::ISSUER;
    let lookalike = "managedidentitysnissuer.login.microsoft.com.example";
    let cases = [
        ("lost", lost, issuer, Some(info.clone()), false),
        ("upper case", lost, issuer, Some(upper_case), false),
        ("new", new, issuer, Some(info.clone()), true),
        ("container", lost, issuer, Some(other_container), true),
        ("provider", lost, issuer, Some(other_provider), true),
        ("machine", lost, issuer, Some(machine), true),
        ("no key", lost, issuer, None, true),
        ("lookalike", lost, lookalike, Some(info.clone()), true),
        ("issuer", lost, "another", Some(info.clone()), true),
    ];
    for (day, (name, key, issuer, info, _)) in (10..).zip(&cases) {
        let certificate = testing::certificate(key.public_key_der(), "x", issuer, day);
        let entry = CertificateEntry {
            der: certificate.der().to_vec(),
            friendly_name: (*name).to_owned(),
            key: info.clone(),
        };
        add(&windows, entry);
    }
    store.store.remove_of_lost_keys(&info, new.public_key_der());
    let expected: Vec<_> = cases
        .iter()
        .filter(|(.., remains)| *remains)
        .map(|(name, ..)| *name)
        .collect();
    assert_eq!(names(&windows), expected);
}

#[test]
fn removes_only_the_entry_of_the_identity() {
    let (windows, store) = store();
    let binding = binding(&KEYS[0], 30, KEYGUARD_KEY);
    store.save(&attested(), &binding);
    store.remove(&other(), &binding.certificate);
    assert_eq!(entries(&windows).len(), 1);
    store.remove(&attested(), &binding.certificate);
    assert!(entries(&windows).is_empty());
}

#[test]
fn skips_writes_while_another_process_writes() {
    let (windows, store) = store_with(|state| state.lock_fails = Some(|| Lock::Busy));
    let binding = binding(&KEYS[0], 30, KEYGUARD_KEY);
    store.save(&attested(), &binding);
    assert!(entries(&windows).is_empty());
    add(&windows, entry(&binding));
    store.remove(&attested(), &binding.certificate);
    assert_eq!(entries(&windows).len(), 1);
}

#[test]
fn writes_where_another_account_denies_access_to_the_mutex() {
    let (windows, store) = store_with(|state| state.lock_fails = Some(|| Lock::Unusable));
    let binding = binding(&KEYS[0], 30, KEYGUARD_KEY);
    store.save(&attested(), &binding);
    assert_eq!(store.load(&attested()), std::slice::from_ref(&binding));
    store.remove(&attested(), &binding.certificate);
    assert!(entries(&windows).is_empty());
}

#[test]
fn locks_issuance_by_a_mutex_of_the_account() {
    let (windows, store) = store();
    let store = store.with_lock_timeout(Duration::ZERO);
    let lock = store.lock_issuance(&attested());
    assert!(lock.is_some());
    let name = MutexName::of_issuance(&format!("{CLIENT}#att=1"));
    assert!(matches!(&name, MutexName::Account(name) if name.starts_with("KEYBOUND_MINT_")));
    let calls = windows.with(|state| state.calls.clone());
    assert_eq!(calls, [format!("lock {name:?} 0ns")]);
    drop(lock);
    while windows.open_handles() > 0 {
        std::thread::yield_now();
    }
    for fails in [|| Lock::Busy, || Lock::Unusable] as [fn() -> Lock; 2] {
        let (_, store) = store_with(|state| state.lock_fails = Some(fails));
        assert!(store.lock_issuance(&attested()).is_none());
    }
}

#[test]
fn ignores_certificates_that_imds_does_not_issue() {
    let key = KEYS[0].public_key_der();
    let lookalike = format!("{}.example", testing::ISSUER);
    for (issuer, not_before, not_after, is_loaded) in [
        (testing::ISSUER, 0, 14, true),
        (testing::ISSUER, 100, 130, true),
        (testing::ISSUER, 100, 131, false),
        (testing::ISSUER, 0, 47_000, false),
        (testing::ISSUER, 20, 10, false),
        ("another", 0, 14, false),
        (&*lookalike, 0, 14, false),
    ] {
        let (windows, store) = store();
        let days = not_before..not_after;
        let certificate = testing::certificate_from(key, CLIENT, issuer, days.clone());
        add(&windows, entry(&binding_of(certificate, KEYGUARD_KEY)));
        let case = format!("{issuer:?} {days:?}");
        assert_eq!(
            store.load(&attested()).len(),
            usize::from(is_loaded),
            "{case}"
        );
    }
}

#[test]
fn ignores_containers_that_no_provider_opens() {
    for (provider, container, machine, is_loaded) in [
        (&*SOFTWARE.to_lowercase(), KEYGUARD_KEY, false, true),
        (SOFTWARE, KEYGUARD_KEY, true, false),
        (SOFTWARE, "keyguardrsakey", false, false),
        (SOFTWARE, "K", false, false),
        ("Another Provider", KEYGUARD_KEY, false, false),
        ("", KEYGUARD_KEY, false, false),
        (PLATFORM, KEYGUARD_KEY, false, false),
        (PLATFORM, "KeyboundPlatformKey", false, true),
        (SOFTWARE, "KeyboundPlatformKey", false, false),
    ] {
        let (windows, store) = store();
        let mut entry = entry(&binding(&KEYS[0], 30, KEYGUARD_KEY));
        entry.key = Some(KeyProvInfo {
            machine,
            ..KeyProvInfo::cng(provider, container)
        });
        add(&windows, entry);
        let case = format!("{provider} {container} {machine}");
        assert_eq!(
            store.load(&attested()).len(),
            usize::from(is_loaded),
            "{case}"
        );
    }
}

#[test]
fn certificates_for_other_containers_are_not_saved() {
    let (windows, store) = store();
    store.save(&attested(), &binding(&KEYS[0], 30, "K"));
    assert!(entries(&windows).is_empty());
}

#[test]
fn prefers_a_just_issued_certificate_to_earlier_entries() {
    let [key, other_key] = &*KEYS;
    let issued = binding(key, 30, KEYGUARD_KEY);
    for (earlier, remains) in [
        // Planted, or issued to another process meanwhile.
        (binding(key, 40, KEYGUARD_KEY), false),
        (binding(key, 47_000, KEYGUARD_KEY), false),
        (binding(key, 29, KEYGUARD_KEY), true),
        (binding(key, 40, SOFTWARE_KEY), true),
        // Another process of this account may have replaced the key.
        (binding(other_key, 40, KEYGUARD_KEY), true),
    ] {
        let (windows, store) = store();
        add(&windows, entry(&earlier));
        store.save(&attested(), &issued);
        assert!(store.load(&attested()).contains(&issued), "{earlier:?}");
        let is_present = entries(&windows)
            .iter()
            .any(|entry| entry.der == earlier.certificate.der());
        assert_eq!(is_present, remains, "{earlier:?}");
    }
}

#[test]
fn replaces_the_same_certificate_with_another_endpoint_or_key() {
    let issued = binding(&KEYS[0], 30, KEYGUARD_KEY);
    let other_endpoint = StoredBinding {
        endpoint: "https://evil.example".to_owned(),
        token_endpoint: format!("https://evil.example/{TENANT}/oauth2/v2.0/token"),
        ..issued.clone()
    };
    let other_key = StoredBinding {
        key_name: SOFTWARE_KEY.to_owned(),
        ..issued.clone()
    };
    for planted in [other_endpoint, other_key] {
        let (windows, store) = store();
        add(&windows, entry(&planted));
        store.save(&attested(), &issued);
        assert_eq!(store.load(&attested()), std::slice::from_ref(&issued));
    }
}

#[test]
fn further_members_of_the_same_entry_remain() {
    let (windows, store) = store();
    let issued = binding(&KEYS[0], 30, KEYGUARD_KEY);
    let mut present = entry(&issued);
    present.friendly_name.push_str("|new=1");
    add(&windows, present.clone());
    store.save(&attested(), &issued);
    assert_eq!(entries(&windows), [present]);
}

#[test]
fn removes_nothing_where_the_new_certificate_is_not_stored() {
    let (windows, store) =
        store_with(|state| state.add_certificate_fails = Some(Status::PERMISSION));
    let present = binding(&KEYS[0], 40, KEYGUARD_KEY);
    add(&windows, entry(&present));
    store.save(&attested(), &binding(&KEYS[0], 30, KEYGUARD_KEY));
    assert_eq!(store.load(&attested()), [present]);
}
