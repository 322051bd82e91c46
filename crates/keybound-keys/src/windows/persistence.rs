//! Certificates of managed identities in the user's certificate store, shared with MSAL .NET.
use super::border::Held;
use super::names::{FriendlyName, alias_mutex, is_same_key_name, mutex_name};
use super::status::Status;
use keybound_core::Certificate;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::time::{Duration, SystemTime};

/// Keeps certificates for later processes of this user, each with the name of its key, never with the key.
///
/// An entry is found by its alias: see [`alias`](Self::alias). It is best effort: what fails is logged and otherwise
/// nothing, an entry that is not whole is not there. The methods block.
#[derive(Clone, Debug)]
pub struct Persistence {
    shelf: Arc<dyn Shelf>,
    longest_wait: Duration,
}

/// A certificate as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersistedCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Where its tokens are asked for: `<mTLS endpoint>/<tenant>`.
    pub endpoint: String,
    /// The container of its key.
    pub key_name: String,
}

impl PersistedCertificate {
    /// An entry.
    pub fn new(
        certificate: Certificate,
        endpoint: impl Into<String>,
        key_name: impl Into<String>,
    ) -> Self {
        Self {
            certificate,
            endpoint: endpoint.into(),
            key_name: key_name.into(),
        }
    }
}

impl Persistence {
    /// What is kept in a certificate store of Windows; MSAL .NET keeps it in `CurrentUser\My`.
    #[cfg(windows)]
    pub fn in_store(path: super::StorePath) -> Self {
        Self::over(Arc::new(super::native::shelf::SystemShelf::new(path)))
    }

    pub(crate) fn over(shelf: Arc<dyn Shelf>) -> Self {
        Self {
            shelf,
            longest_wait: LONGEST_WAIT,
        }
    }

    /// How long is waited for others who are busy with an alias. Default: two seconds.
    #[must_use]
    pub fn with_longest_wait(mut self, longest: Duration) -> Self {
        self.longest_wait = longest;
        self
    }

    /// The alias of MSAL .NET for an identity, by the id that it was asked for with (`None`: the system-assigned one):
    /// `<id>#att=1` where its key was attested, `<id>#att=0` where not. It is compared letter by letter: MSAL finds under it what
    /// its own callers ask for with the same letters in the same case.
    pub fn alias(identity: Option<&str>, attested: bool) -> String {
        super::names::alias(identity, attested)
    }

    /// The entries of an alias that have a key in CNG, the one that ends last first.
    pub fn load(&self, alias: &str) -> Vec<PersistedCertificate> {
        let mut found: Vec<_> = self
            .entries_of(alias)
            .into_iter()
            .filter_map(|(entry, endpoint)| {
                let key = entry.key.filter(|key| !key.legacy)?;
                let certificate = Certificate::from_der(&entry.der).ok()?;
                Some(PersistedCertificate::new(certificate, endpoint, key.name))
            })
            .collect();
        found.sort_by_key(|entry| std::cmp::Reverse(entry.certificate.not_after()));
        found
    }

    /// Adds an entry, unless one of the same key is there that ends as late, and removes those of the alias that have ended
    /// or have no key. Where another process is busy with the alias for [too long](Self::with_longest_wait), nothing is done.
    pub fn save(&self, alias: &str, entry: &PersistedCertificate, now: SystemTime) {
        let name = FriendlyName {
            alias: alias.to_owned(),
            endpoint: entry.endpoint.clone(),
        };
        let Some(friendly_name) = name.encode() else {
            tracing::warn!("a certificate cannot be kept under the name of its identity");
            return;
        };
        let Some(_held) = self.lock(alias) else {
            return;
        };
        let present = self.entries_of(alias);
        if present.iter().any(|(there, _)| is_as_good(there, entry)) {
            tracing::debug!("a certificate that lasts as long is kept already");
        } else {
            let added = self.shelf.add(&Entry {
                der: entry.certificate.der().to_vec(),
                friendly_name,
                key: Some(KeyPlace {
                    provider: super::provider::provider_of(&entry.key_name).to_owned(),
                    name: entry.key_name.clone(),
                    machine: false,
                    legacy: false,
                }),
            });
            log("kept", added);
        }
        for (there, _) in present {
            if is_of_no_use(&there, now) {
                log("removed", self.shelf.remove(&there.der));
            }
        }
    }

    /// Removes the entry of an alias with this certificate, if it is there.
    pub fn remove(&self, alias: &str, certificate: &Certificate) {
        let Some(_held) = self.lock(alias) else {
            return;
        };
        let is_it = |entry: &Entry| entry.der == certificate.der();
        if self.entries_of(alias).iter().any(|(entry, _)| is_it(entry)) {
            log("removed", self.shelf.remove(certificate.der()));
        }
    }

    /// Waits until no other process of this host has a certificate issued for the alias, so that those who start at once
    /// have one issued, not one each. `None` where that takes longer.
    pub fn take_turn(&self, alias: &str, longest: Duration) -> Option<Turn> {
        let name = mutex_name("KEYBOUND_MINT_", alias);
        let shelf = Arc::clone(&self.shelf);
        let (done, wait_until_done) = channel();
        let (say, taken) = sync_channel(1);
        // A mutex belongs to the thread that took it, and a turn goes from thread to thread.
        std::thread::Builder::new()
            .name("keybound-turn".to_owned())
            .spawn(move || {
                let held = shelf.lock(&name, longest);
                let _ = say.send(held.is_some());
                if held.is_some() {
                    let _: Result<(), _> = wait_until_done.recv();
                }
            })
            .ok()?;
        taken.recv().ok()?.then_some(Turn { _done: done })
    }

    /// Removes what managed identities were issued for lost keys of a container: whatever names it and is for another public
    /// key than the one that is there now. Others that look by the container's name, MSAL .NET among them, take such a
    /// certificate for a good one, since they do not compare.
    pub(crate) fn purge(&self, place: &KeyPlace, public_key: &[u8]) {
        for entry in self.entries() {
            if is_of_a_lost_key(&entry, place, public_key) {
                log("removed", self.shelf.remove(&entry.der));
            }
        }
    }

    fn lock(&self, alias: &str) -> Option<Box<dyn Held>> {
        let held = self.shelf.lock(&alias_mutex(alias), self.longest_wait);
        if held.is_none() {
            tracing::debug!("another process is busy with the kept certificates");
        }
        held
    }

    /// The entries of an alias, with their endpoints.
    fn entries_of(&self, alias: &str) -> Vec<(Entry, String)> {
        self.entries()
            .into_iter()
            .filter_map(|entry| {
                let name = FriendlyName::decode(&entry.friendly_name)?;
                (name.alias == alias.trim()).then_some((entry, name.endpoint))
            })
            .collect()
    }

    fn entries(&self) -> Vec<Entry> {
        self.shelf.entries().unwrap_or_else(|status| {
            tracing::warn!(%status, "the certificate store could not be read");
            Vec::new()
        })
    }
}

/// The turn to have a certificate issued; it ends when this is dropped.
pub struct Turn {
    _done: Sender<()>,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

/// A certificate store, or what stands in for it.
pub(crate) trait Shelf: Send + Sync + fmt::Debug {
    /// All certificates.
    fn entries(&self) -> Result<Vec<Entry>, Status>;

    /// Adds an entry whole or not at all.
    fn add(&self, entry: &Entry) -> Result<(), Status>;

    /// Removes the certificate with this DER.
    fn remove(&self, der: &[u8]) -> Result<(), Status>;

    /// As [`Border::lock`](super::border::Border::lock).
    fn lock(&self, name: &str, longest: Duration) -> Option<Box<dyn Held>>;
}

/// A certificate in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) der: Vec<u8>,
    /// Empty where it has none.
    pub(crate) friendly_name: String,
    /// Where its key is kept; `None` where it has none.
    pub(crate) key: Option<KeyPlace>,
}

/// Where a certificate says that its key is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    pub(crate) provider: String,
    pub(crate) name: String,
    pub(crate) machine: bool,
    /// In a CryptoAPI provider, not in CNG.
    pub(crate) legacy: bool,
}

impl KeyPlace {
    /// Whether both are one container. Containers of the software provider are files, named by the lower-case name.
    fn is_same(&self, other: &Self) -> bool {
        self.provider.eq_ignore_ascii_case(&other.provider)
            && is_same_key_name(&self.name, &other.name)
            && self.machine == other.machine
            && self.legacy == other.legacy
    }
}

/// Whether an entry makes another one needless.
fn is_as_good(there: &Entry, new: &PersistedCertificate) -> bool {
    let same_place = there
        .key
        .as_ref()
        .is_some_and(|key| !key.legacy && key.name == new.key_name);
    same_place
        && Certificate::from_der(&there.der).is_ok_and(|there| {
            there.public_key_der() == new.certificate.public_key_der()
                && there.not_after() >= new.certificate.not_after()
        })
}

fn is_of_no_use(entry: &Entry, now: SystemTime) -> bool {
    entry.key.is_none()
        || Certificate::from_der(&entry.der).is_ok_and(|certificate| certificate.not_after() <= now)
}

fn is_of_a_lost_key(entry: &Entry, place: &KeyPlace, public_key: &[u8]) -> bool {
    entry.key.as_ref().is_some_and(|key| key.is_same(place))
        && Certificate::from_der(&entry.der).is_ok_and(|certificate| {
            certificate.issuer().eq_ignore_ascii_case(ISSUER)
                && certificate.public_key_der() != public_key
        })
}

fn log(done: &str, result: Result<(), Status>) {
    match result {
        Ok(()) => tracing::debug!("a certificate was {done} in the certificate store"),
        Err(status) => tracing::warn!(%status, "a certificate could not be {done}"),
    }
}

/// Who issues certificates to managed identities.
const ISSUER: &str = "CN=managedidentitysnissuer.login.microsoft.com";
/// Others hold it for milliseconds.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::BindingKey as _;
    use crate::memory::MemoryKey;
    use std::sync::{LazyLock, Mutex, PoisonError};

    static KEYS: LazyLock<[MemoryKey; 2]> =
        LazyLock::new(|| [(); 2].map(|()| MemoryKey::generate().unwrap()));

    /// A store in memory.
    #[derive(Debug, Default)]
    struct Memory {
        kept: Mutex<Vec<Entry>>,
        locks: Mutex<Vec<String>>,
        is_busy: bool,
    }

    struct Nothing;
    impl Held for Nothing {}

    impl Memory {
        fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Shelf for Memory {
        fn entries(&self) -> Result<Vec<Entry>, Status> {
            Ok(self.kept().clone())
        }
        fn add(&self, entry: &Entry) -> Result<(), Status> {
            self.kept().push(entry.clone());
            Ok(())
        }
        fn remove(&self, der: &[u8]) -> Result<(), Status> {
            self.kept().retain(|entry| entry.der != der);
            Ok(())
        }
        fn lock(&self, name: &str, _: Duration) -> Option<Box<dyn Held>> {
            self.locks.lock().unwrap().push(name.to_owned());
            (!self.is_busy).then(|| Box::new(Nothing) as Box<dyn Held>)
        }
    }

    fn certificate(key: &MemoryKey, day: i64) -> Certificate {
        testing::certificate(key.public_key_der(), "x", "y", day)
    }

    fn day(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400)
    }

    fn entry(key: &MemoryKey, day: i64, name: &str) -> PersistedCertificate {
        PersistedCertificate::new(certificate(key, day), "https://e.example/t", name)
    }

    fn shelf() -> (Arc<Memory>, Persistence) {
        let memory = Arc::new(Memory::default());
        (Arc::clone(&memory), Persistence::over(memory))
    }

    #[test]
    fn what_was_saved_is_loaded_the_one_that_ends_last_first() {
        let (memory, store) = shelf();
        let key = &KEYS[0];
        let entries = [10, 30, 20].map(|day| entry(key, day, "KeyGuardRSAKey"));
        for entry in &entries {
            store.save("a#att=1", entry, day(1));
        }
        // The third ends before one that is there.
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
        let expected = alias_mutex("a#att=1");
        assert!(
            memory
                .locks
                .lock()
                .unwrap()
                .iter()
                .all(|name| *name == expected)
        );
    }

    #[test]
    fn a_certificate_of_another_key_is_kept_beside_one_that_lasts_longer() {
        let (_, store) = shelf();
        let keys = &*KEYS;
        store.save("a", &entry(&keys[0], 30, "K"), day(1));
        store.save("a", &entry(&keys[1], 20, "K"), day(1));
        store.save("a", &entry(&keys[0], 20, "L"), day(1));
        assert_eq!(store.load("a").len(), 3);
    }

    #[test]
    fn those_that_ended_or_have_no_key_go_with_the_next_save_and_others_stay() {
        let (memory, store) = shelf();
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
        let (memory, store) = shelf();
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
        let (memory, store) = shelf();
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
        let issuer = "managedidentitysnissuer.login.microsoft.com";
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
        let (memory, store) = shelf();
        let key = &KEYS[0];
        let kept = entry(key, 30, "K");
        store.save("a", &kept, day(1));
        store.remove("b", &kept.certificate);
        assert_eq!(memory.kept().len(), 1);
        store.remove("a", &kept.certificate);
        assert!(memory.kept().is_empty());
    }

    #[test]
    fn while_others_are_busy_nothing_is_changed() {
        let memory = Arc::new(Memory {
            is_busy: true,
            ..Memory::default()
        });
        let store = Persistence::over(Arc::clone(&memory) as _);
        let key = &KEYS[0];
        store.save("a", &entry(key, 30, "K"), day(1));
        assert!(memory.kept().is_empty());
        assert!(store.take_turn("a", Duration::ZERO).is_none());
        let (memory, store) = shelf();
        assert!(store.take_turn("a", Duration::ZERO).is_some());
        assert!(memory.locks.lock().unwrap()[0].starts_with("KEYBOUND_MINT_"));
    }
}
