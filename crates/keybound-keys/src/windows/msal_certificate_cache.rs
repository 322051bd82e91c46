//! Certificates of managed identities in the user's certificate store, shared with MSAL .NET.
#[cfg(test)]
mod tests;

use super::names::{FriendlyName, MutexName, is_same_key_name};
use super::ncrypt_api::Lock;
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
pub struct MsalCertificateCache {
    store: Arc<dyn CertificateStore>,
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

impl MsalCertificateCache {
    /// What is kept in a certificate store of Windows; MSAL .NET keeps it in `CurrentUser\My`.
    #[cfg(windows)]
    pub fn in_store(path: super::StorePath) -> Self {
        Self::over(Arc::new(
            super::native::certificate_store::SystemCertificateStore::new(path),
        ))
    }

    pub(crate) fn over(store: Arc<dyn CertificateStore>) -> Self {
        Self {
            store,
            longest_wait: LONGEST_WAIT,
        }
    }

    /// How long a write waits for other processes of this account that write entries of the alias. Default: 300 ms, as MSAL
    /// .NET waits.
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

    /// The entries of an alias that have a key in CNG, the one that ends last
    /// ([`effective_not_after`](Certificate::effective_not_after)) first.
    ///
    /// Every program of this account can put certificates into the store under these names, so that an entry proves nothing.
    /// One that does not name the issuer of managed identities' certificates, or is valid for longer than 30 days, is passed
    /// over. The signature is not verified: the issuer's key is not known here, and Entra refuses what it did not issue. The
    /// caller then [removes](Self::remove) the entry.
    pub fn load(&self, alias: &str) -> Vec<PersistedCertificate> {
        let mut found: Vec<_> = self
            .entries_of(alias)
            .into_iter()
            .filter_map(|(entry, endpoint)| {
                let key = entry.key.filter(KeyPlace::is_of_a_provider)?;
                let certificate = Certificate::from_der(&entry.der).ok()?;
                let loaded = PersistedCertificate::new(certificate, endpoint, key.name);
                loaded.certificate.is_plausible().then_some(loaded)
            })
            .collect();
        found.sort_by_key(|entry| std::cmp::Reverse(entry.certificate.effective_not_after()));
        found
    }

    /// Adds an entry that was just issued, and removes entries of the alias: those of the same key that end as late or later
    /// than the new one, those that have ended, and those without a key. So no entry that was there before is preferred to
    /// the new one.
    ///
    /// Where another process writes entries of the alias for [too long](Self::with_longest_wait), nothing is done.
    pub fn save(&self, alias: &str, entry: &PersistedCertificate, now: SystemTime) {
        let name = FriendlyName {
            alias: alias.to_owned(),
            endpoint: entry.endpoint.clone(),
        };
        let Some(friendly_name) = name.encode() else {
            tracing::warn!("a certificate cannot be kept under the name of its identity");
            return;
        };
        self.write(alias, || {
            let new = Entry {
                der: entry.certificate.der().to_vec(),
                friendly_name,
                key: Some(KeyPlace::of(&entry.key_name)),
            };
            let present = self.entries_of(alias);
            let is_new = |(there, endpoint): &(Entry, String)| {
                there.der == new.der && there.key == new.key && *endpoint == name.endpoint
            };
            let is_kept = present.iter().any(is_new) || self.add(&new);
            for (there, _) in present {
                if there.der != new.der
                    && (is_of_no_use(&there, now) || (is_kept && is_superseded(&there, entry)))
                {
                    log("removed", self.store.remove(&there.der));
                }
            }
        });
    }

    /// Whether it was added.
    fn add(&self, entry: &Entry) -> bool {
        let added = self.store.add(entry);
        log("kept", added);
        added.is_ok()
    }

    /// Removes the entry of an alias with this certificate, if it is there: one that Entra refused, or whose key is lost.
    ///
    /// Where another process writes entries of the alias for [too long](Self::with_longest_wait), nothing is done.
    pub fn remove(&self, alias: &str, certificate: &Certificate) {
        self.write(alias, || {
            let is_it = |entry: &Entry| entry.der == certificate.der();
            if self.entries_of(alias).iter().any(|(entry, _)| is_it(entry)) {
                log("removed", self.store.remove(certificate.der()));
            }
        });
    }

    /// Waits until no other process of this host has a certificate issued for the alias, so that those who start at once
    /// have one issued, not one each. `None` where that takes longer.
    pub fn take_turn(&self, alias: &str, longest: Duration) -> Option<Turn> {
        let name = MutexName::of_mint(alias);
        let store = Arc::clone(&self.store);
        let (done, wait_until_done) = channel();
        let (say, taken) = sync_channel(1);
        // A mutex belongs to the thread that took it, and a turn goes from thread to thread.
        std::thread::Builder::new()
            .name("keybound-turn".to_owned())
            .spawn(move || {
                let lock = store.lock(&name, longest);
                let is_held = matches!(lock, Lock::Held(_));
                let _ = say.send(is_held);
                if is_held {
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
                log("removed", self.store.remove(&entry.der));
            }
        }
    }

    /// Changes entries of an alias under its mutex. A mutex that another account keeps from this one stops nobody: each change
    /// is whole without it, and programs of this account that cannot acquire it write nothing.
    fn write(&self, alias: &str, change: impl FnOnce()) {
        let name = MutexName::of_entries(alias);
        match self.store.lock(&name, self.longest_wait) {
            Lock::Busy => {
                tracing::debug!("another process writes certificates of this identity: skipped");
            }
            lock @ (Lock::Held(_) | Lock::Unusable) => {
                change();
                drop(lock);
            }
        }
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
        self.store.entries().unwrap_or_else(|status| {
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

/// A certificate store, or the one of a test.
pub(crate) trait CertificateStore: Send + Sync + fmt::Debug {
    /// All certificates.
    fn entries(&self) -> Result<Vec<Entry>, Status>;

    /// Adds an entry whole or not at all.
    fn add(&self, entry: &Entry) -> Result<(), Status>;

    /// Removes the certificate with this DER.
    fn remove(&self, der: &[u8]) -> Result<(), Status>;

    /// As [`NcryptApi::lock`](super::ncrypt_api::NcryptApi::lock).
    fn lock(&self, name: &MutexName, longest: Duration) -> Lock;
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
    /// Where the key of this name is kept that [`CngProvider`](super::provider::CngProvider) opens.
    fn of(key_name: &str) -> Self {
        Self {
            provider: super::provider::provider_of(key_name).to_owned(),
            name: key_name.to_owned(),
            machine: false,
            legacy: false,
        }
    }

    /// Whether a [`CngProvider`](super::provider::CngProvider) can open it: its name says which other members it has.
    fn is_of_a_provider(&self) -> bool {
        self.is_same(&Self::of(&self.name))
    }

    /// Whether both are one container. Containers of the software provider are files, named by the lower-case name.
    fn is_same(&self, other: &Self) -> bool {
        self.provider.eq_ignore_ascii_case(&other.provider)
            && is_same_key_name(&self.name, &other.name)
            && self.machine == other.machine
            && self.legacy == other.legacy
    }
}

/// Whether an entry would be preferred to a new one of the same key.
fn is_superseded(there: &Entry, new: &PersistedCertificate) -> bool {
    let place = KeyPlace::of(&new.key_name);
    there.key.as_ref().is_some_and(|key| key.is_same(&place))
        && Certificate::from_der(&there.der).is_ok_and(|there| {
            there.public_key_der() == new.certificate.public_key_der()
                && there.effective_not_after() >= new.certificate.effective_not_after()
        })
}

fn is_of_no_use(entry: &Entry, now: SystemTime) -> bool {
    entry.key.is_none()
        || Certificate::from_der(&entry.der)
            .is_ok_and(|certificate| certificate.effective_not_after() <= now)
}

fn is_of_a_lost_key(entry: &Entry, place: &KeyPlace, public_key: &[u8]) -> bool {
    entry.key.as_ref().is_some_and(|key| key.is_same(place))
        && Certificate::from_der(&entry.der).is_ok_and(|certificate| {
            certificate.names_managed_identity_issuer()
                && certificate.public_key_der() != public_key
        })
}

fn log(done: &str, result: Result<(), Status>) {
    match result {
        Ok(()) => tracing::debug!("a certificate was {done} in the certificate store"),
        Err(status) => tracing::warn!(%status, "a certificate could not be {done}"),
    }
}

/// As MSAL .NET. Others hold it for milliseconds, and nobody needs what is written.
const LONGEST_WAIT: Duration = Duration::from_millis(300);
