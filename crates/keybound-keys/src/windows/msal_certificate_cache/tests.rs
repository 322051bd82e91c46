//! Which certificates are found, kept and removed.
use super::super::ncrypt_api::Held;
use super::super::testing;
use super::*;
use crate::BindingKey as _;
use crate::memory::MemoryKey;
use keybound_core::lock;
use std::sync::{LazyLock, Mutex};

static KEYS: LazyLock<[MemoryKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| MemoryKey::generate().unwrap()));

/// A store in memory.
#[derive(Debug, Default)]
struct Memory {
    kept: Mutex<Vec<Entry>>,
    locks: Mutex<Vec<(MutexName, Duration)>>,
    lock_fails: Option<fn() -> Lock>,
    add_fails: bool,
}

struct Nothing;
impl Held for Nothing {}

impl Memory {
    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        lock(&self.kept)
    }
}

impl CertificateStore for Memory {
    fn entries(&self) -> Result<Vec<Entry>, Status> {
        Ok(self.kept().clone())
    }
    /// In the place of the same certificate, as the store of Windows.
    fn add(&self, entry: &Entry) -> Result<(), Status> {
        if self.add_fails {
            return Err(Status::PERMISSION);
        }
        self.kept().retain(|there| there.der != entry.der);
        self.kept().push(entry.clone());
        Ok(())
    }
    fn remove(&self, der: &[u8]) -> Result<(), Status> {
        self.kept().retain(|entry| entry.der != der);
        Ok(())
    }
    fn lock(&self, name: &MutexName, longest: Duration) -> Lock {
        self.locks.lock().unwrap().push((name.clone(), longest));
        self.lock_fails
            .map_or_else(|| Lock::Held(Box::new(Nothing)), |fails| fails())
    }
}

fn certificate(key: &MemoryKey, day: i64) -> Certificate {
    testing::certificate(key.public_key_der(), "x", testing::ISSUER, day)
}

fn day(day: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400)
}

fn entry(key: &MemoryKey, day: i64, name: &str) -> PersistedCertificate {
    PersistedCertificate::new(certificate(key, day), "https://e.example/t", name)
}

fn in_memory() -> (Arc<Memory>, MsalCertificateCache) {
    in_memory_with(Memory::default())
}

fn in_memory_with(memory: Memory) -> (Arc<Memory>, MsalCertificateCache) {
    let memory = Arc::new(memory);
    (Arc::clone(&memory), MsalCertificateCache::over(memory))
}

/// As it is in the store.
fn stored(alias: &str, entry: &PersistedCertificate) -> Entry {
    Entry {
        der: entry.certificate.der().to_vec(),
        friendly_name: format!("MSAL|alias={alias}|ep={}", entry.endpoint),
        key: Some(KeyPlace::of(&entry.key_name)),
    }
}

#[test]
fn what_was_saved_is_loaded_the_one_that_ends_last_first() {
    let (memory, store) = in_memory();
    let key = &KEYS[0];
    let entries = [20, 30].map(|day| entry(key, day, "KeyGuardRSAKey"));
    for entry in &entries {
        store.save("a#att=1", entry, day(1));
    }
    assert_eq!(
        store.load("a#att=1"),
        [entries[1].clone(), entries[0].clone()]
    );
    assert!(store.load("a#att=0").is_empty() && store.load("A#att=1").is_empty());
    let kept = memory.kept()[0].clone();
    assert_eq!(
        kept.friendly_name,
        "MSAL|alias=a#att=1|ep=https://e.example/t"
    );
    assert_eq!(
        kept.key.unwrap().provider,
        "Microsoft Software Key Storage Provider"
    );
    // As MSAL .NET, which waits 300 ms.
    let expected = (MutexName::of_entries("a#att=1"), Duration::from_millis(300));
    let locks = memory.locks.lock().unwrap().clone();
    assert_eq!(locks, [expected.clone(), expected]);
}

#[test]
fn a_certificate_ends_at_the_earlier_of_its_two_ends() {
    let (_, store) = in_memory();
    let of = |key: &MemoryKey, not_after, token_not_after| {
        let public_key = key.public_key_der();
        let days = 0..not_after;
        let certificate = testing::certificate_with_token_end(public_key, days, token_not_after);
        PersistedCertificate::new(certificate, "https://e.example/t", "K")
    };
    // None of one key is superseded by the next.
    let first = of(&KEYS[0], 30, 5);
    let second = of(&KEYS[0], 20, 15);
    let third = of(&KEYS[1], 25, 10);
    for entry in [&first, &second, &third] {
        store.save("a", entry, day(1));
    }
    assert_eq!(store.load("a"), [second.clone(), third.clone(), first]);
    store.save("a", &third, day(5));
    assert_eq!(store.load("a"), [second.clone(), third.clone()]);
    // One that gets tokens for longer is superseded, although the new one ends later.
    let fourth = of(&KEYS[0], 28, 12);
    store.save("a", &fourth, day(6));
    assert_eq!(store.load("a"), [fourth, third]);
}

#[test]
fn a_certificate_of_another_key_is_kept_beside_one_that_lasts_longer() {
    let (_, store) = in_memory();
    let keys = &*KEYS;
    store.save("a", &entry(&keys[0], 30, "K"), day(1));
    store.save("a", &entry(&keys[1], 20, "K"), day(1));
    store.save("a", &entry(&keys[0], 20, "L"), day(1));
    assert_eq!(store.load("a").len(), 3);
}

#[test]
fn those_that_ended_or_have_no_key_go_with_the_next_save_and_others_stay() {
    let (memory, store) = in_memory();
    let key = &KEYS[0];
    store.save("a", &entry(key, 2, "K"), day(1));
    store.save("b", &entry(&KEYS[1], 2, "K"), day(1));
    let without = |friendly_name: &str, day| Entry {
        der: certificate(key, day).der().to_vec(),
        friendly_name: friendly_name.to_owned(),
        key: None,
    };
    memory.kept().push(without("MSAL|alias=a|ep=e", 90));
    memory.kept().push(without("somebody else's", 91));
    assert_eq!(store.load("a").len(), 1);
    store.save("a", &entry(key, 30, "K"), day(3));
    let names: Vec<_> = memory
        .kept()
        .iter()
        .map(|entry| entry.friendly_name.clone())
        .collect();
    let expected = [
        "MSAL|alias=b|ep=https://e.example/t",
        "somebody else's",
        "MSAL|alias=a|ep=https://e.example/t",
    ];
    assert_eq!(names, expected);
}

#[test]
fn keys_of_cryptoapi_and_what_is_no_certificate_are_passed_over() {
    let (memory, store) = in_memory();
    let key = &KEYS[0];
    store.save("a", &entry(key, 30, "K"), day(1));
    let mut legacy = memory.kept()[0].clone();
    legacy.key.as_mut().unwrap().legacy = true;
    let mut garbage = memory.kept()[0].clone();
    garbage.der = b"garbage".to_vec();
    memory.kept().extend([legacy, garbage]);
    assert_eq!(store.load("a").len(), 1);
}

#[test]
fn of_a_lost_key_what_names_its_container_goes_and_all_else_stays() {
    let (memory, store) = in_memory();
    let [lost, new] = &*KEYS;
    let place = |provider: &str, name: &str| KeyPlace {
        provider: provider.to_owned(),
        name: name.to_owned(),
        machine: false,
        legacy: false,
    };
    let (software, other) = ("Microsoft Software Key Storage Provider", "Another");
    let ours = place(software, "KeyGuardRSAKey");
    let machine = KeyPlace {
        machine: true,
        ..ours.clone()
    };
    let issuer = testing::ISSUER;
    let lookalike = "managedidentitysnissuer.login.microsoft.com.example";
    let cases = [
        ("lost", lost, issuer, Some(ours.clone()), false),
        (
            "",
            lost,
            issuer,
            Some(place(software, "KEYGUARDRSAKEY")),
            false,
        ),
        ("new", new, issuer, Some(ours.clone()), true),
        ("container", lost, issuer, Some(place(software, "K")), true),
        (
            "provider",
            lost,
            issuer,
            Some(place(other, "KeyGuardRSAKey")),
            true,
        ),
        ("machine", lost, issuer, Some(machine), true),
        ("none", lost, issuer, None, true),
        ("lookalike", lost, lookalike, Some(ours.clone()), true),
        ("somebody", lost, "somebody else", Some(ours.clone()), true),
    ];
    for (day, (name, key, issuer, place, _)) in (10..).zip(&cases) {
        memory.kept().push(Entry {
            der: testing::certificate(key.public_key_der(), "x", issuer, day)
                .der()
                .to_vec(),
            friendly_name: (*name).to_owned(),
            key: place.clone(),
        });
    }
    store.purge(&ours, new.public_key_der());
    let left: Vec<_> = memory
        .kept()
        .iter()
        .map(|entry| entry.friendly_name.clone())
        .collect();
    let expected: Vec<_> = cases
        .iter()
        .filter(|(.., stays)| *stays)
        .map(|(name, ..)| *name)
        .collect();
    assert_eq!(left, expected);
}

#[test]
fn only_the_entry_of_the_alias_is_removed() {
    let (memory, store) = in_memory();
    let key = &KEYS[0];
    let kept = entry(key, 30, "K");
    store.save("a", &kept, day(1));
    store.remove("b", &kept.certificate);
    assert_eq!(memory.kept().len(), 1);
    store.remove("a", &kept.certificate);
    assert!(memory.kept().is_empty());
}

#[test]
fn while_others_write_nothing_is_changed() {
    let (memory, store) = in_memory_with(Memory {
        lock_fails: Some(|| Lock::Busy),
        ..Memory::default()
    });
    let kept = entry(&KEYS[0], 30, "K");
    store.save("a", &kept, day(1));
    assert!(memory.kept().is_empty());
    memory.kept().push(stored("a", &kept));
    store.remove("a", &kept.certificate);
    assert_eq!(memory.kept().len(), 1);
}

#[test]
fn a_mutex_that_another_account_keeps_stops_no_write() {
    let (memory, store) = in_memory_with(Memory {
        lock_fails: Some(|| Lock::Unusable),
        ..Memory::default()
    });
    let kept = entry(&KEYS[0], 30, "K");
    store.save("a", &kept, day(1));
    assert_eq!(store.load("a"), std::slice::from_ref(&kept));
    store.remove("a", &kept.certificate);
    assert!(memory.kept().is_empty());
}

#[test]
fn a_turn_is_taken_by_a_mutex_of_the_account_and_ends_without_one() {
    let (memory, store) = in_memory();
    assert!(store.take_turn("a", Duration::ZERO).is_some());
    let name = MutexName::of_mint("a");
    assert!(matches!(&name, MutexName::OfAccount(name) if name.starts_with("KEYBOUND_MINT_")));
    assert_eq!(*memory.locks.lock().unwrap(), [(name, Duration::ZERO)]);
    for fails in [|| Lock::Busy, || Lock::Unusable] as [fn() -> Lock; 2] {
        let (_, store) = in_memory_with(Memory {
            lock_fails: Some(fails),
            ..Memory::default()
        });
        assert!(store.take_turn("a", Duration::MAX).is_none());
    }
}

#[test]
fn what_no_managed_identity_is_issued_is_passed_over() {
    let key = KEYS[0].public_key_der();
    let lookalike = format!("{}.example", testing::ISSUER);
    for (issuer, begins, ends, is_loaded) in [
        (testing::ISSUER, 0, 14, true),
        (testing::ISSUER, 100, 130, true),
        (testing::ISSUER, 100, 131, false),
        (testing::ISSUER, 0, 47_000, false),
        (testing::ISSUER, 20, 10, false),
        ("somebody else", 0, 14, false),
        (&*lookalike, 0, 14, false),
    ] {
        let (memory, store) = in_memory();
        let certificate = testing::certificate_from(key, "x", issuer, begins..ends);
        let planted = PersistedCertificate::new(certificate, "https://e.example/t", "K");
        memory.kept().push(stored("a", &planted));
        let case = format!("{issuer:?} {begins}..{ends}");
        assert_eq!(store.load("a").len(), usize::from(is_loaded), "{case}");
    }
}

#[test]
fn keys_that_our_providers_do_not_open_are_passed_over() {
    let entry = stored("a", &entry(&KEYS[0], 30, "KeyGuardRSAKey"));
    let software = "microsoft software key storage provider";
    let platform = "Microsoft Platform Crypto Provider";
    for (provider, name, machine, is_loaded) in [
        (software, "KeyGuardRSAKey", false, true),
        (software, "KeyGuardRSAKey", true, false),
        ("Another Provider", "KeyGuardRSAKey", false, false),
        ("", "KeyGuardRSAKey", false, false),
        (platform, "KeyGuardRSAKey", false, false),
        (platform, "KeyboundPlatformKey", false, true),
        (software, "KeyboundPlatformKey", false, false),
    ] {
        let (memory, store) = in_memory();
        let mut entry = entry.clone();
        entry.key = Some(KeyPlace {
            provider: provider.to_owned(),
            name: name.to_owned(),
            machine,
            legacy: false,
        });
        memory.kept().push(entry);
        let case = format!("{provider} {name} {machine}");
        assert_eq!(store.load("a").len(), usize::from(is_loaded), "{case}");
    }
}

#[test]
fn a_just_issued_certificate_is_preferred_to_whatever_was_there() {
    let [key, other] = &*KEYS;
    let minted = entry(key, 30, "K");
    for (there, stays) in [
        // Planted, or issued to another process meanwhile.
        (entry(key, 40, "K"), false),
        (entry(key, 47_000, "K"), false),
        (entry(key, 29, "K"), true),
        (entry(key, 40, "L"), true),
        // Another process of this account may have put a new key in place.
        (entry(other, 40, "K"), true),
    ] {
        let (memory, store) = in_memory();
        memory.kept().push(stored("a", &there));
        store.save("a", &minted, day(1));
        let loaded = store.load("a");
        assert!(loaded.contains(&minted), "{there:?}");
        let is_there = memory
            .kept()
            .iter()
            .any(|entry| entry.der == there.certificate.der());
        assert_eq!(is_there, stays, "{there:?}");
    }
}

#[test]
fn the_same_certificate_with_another_endpoint_or_key_is_replaced() {
    let minted = entry(&KEYS[0], 30, "K");
    let elsewhere = PersistedCertificate {
        endpoint: "https://evil.example/t".to_owned(),
        ..minted.clone()
    };
    let of_another_name = PersistedCertificate {
        key_name: "L".to_owned(),
        ..minted.clone()
    };
    for planted in [elsewhere, of_another_name] {
        let (memory, store) = in_memory();
        memory.kept().push(stored("a", &planted));
        store.save("a", &minted, day(1));
        assert_eq!(store.load("a"), std::slice::from_ref(&minted));
    }
}

#[test]
fn what_others_wrote_beside_the_same_entry_stays() {
    let (memory, store) = in_memory();
    let minted = entry(&KEYS[0], 30, "K");
    let mut theirs = stored("a", &minted);
    theirs.friendly_name.push_str("|new=1");
    memory.kept().push(theirs.clone());
    store.save("a", &minted, day(1));
    assert_eq!(*memory.kept(), [theirs]);
}

#[test]
fn where_the_new_one_is_not_kept_those_that_end_later_stay() {
    let (memory, store) = in_memory_with(Memory {
        add_fails: true,
        ..Memory::default()
    });
    let there = entry(&KEYS[0], 40, "K");
    memory.kept().push(stored("a", &there));
    store.save("a", &entry(&KEYS[0], 30, "K"), day(1));
    assert_eq!(store.load("a"), [there]);
}
