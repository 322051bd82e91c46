//! Certificates that outlive a process: kept with the name of their key, never with the key.
#[cfg(any(windows, test))]
mod msal;
#[cfg(windows)]
mod windows;

#[cfg(windows)]
pub use keybound_keys::windows::{StoreLocation, StorePath};
#[cfg(windows)]
pub use windows::WindowsBindingStore;
#[cfg(windows)]
pub(crate) use windows::of_platform;

use crate::settings::Settings;
pub use keybound_core::BindingCacheKey;
use keybound_core::{Certificate, Guid, IssuedCredential, MtlsEndpoint};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Stores certificates for later processes of this host, with the name of their key. Best effort: a store cannot fail an
/// acquisition, and delays one for its timeouts at most.
///
/// The methods may block: they are called on blocking threads, sixteen at most. A method that never returns occupies its
/// thread, and a runtime that is dropped waits for it. Only [`load_timeout`](Self::load_timeout) and
/// [`lock_timeout`](Self::lock_timeout) are called on any thread and return immediately.
pub trait BindingStore: Send + Sync + fmt::Debug {
    /// All entries of a key, in any order.
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding>;

    /// Adds an entry.
    fn save(&self, key: &BindingCacheKey, entry: &StoredBinding);

    /// Removes the entry with this certificate, if there is one.
    fn remove(&self, key: &BindingCacheKey, certificate: &Certificate);

    /// Locks the issuance of certificates for a key against other processes of this host, so that processes that start at the
    /// same time share one certificate: after the lock is acquired, the store is loaded again. The lock is released when the
    /// value is dropped, after the certificate is saved. `None` where the store has no locks (the default), or where another
    /// process holds the lock for too long.
    fn lock_issuance(&self, _key: &BindingCacheKey) -> Option<IssuanceLock> {
        None
    }

    /// The timeout of [`load`](Self::load), after which an acquisition continues without stored certificates. Default: two
    /// seconds.
    fn load_timeout(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// The timeout of [`lock_issuance`](Self::lock_issuance), after which an acquisition continues without the lock. Default:
    /// ten seconds.
    fn lock_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// The lock of [`BindingStore::lock_issuance`]: dropping it releases the lock.
pub type IssuanceLock = Box<dyn Any + Send>;

/// Where certificates are kept by default.
#[cfg(not(windows))]
pub(crate) fn of_platform(_: &crate::Environment) -> Option<Arc<dyn BindingStore>> {
    None
}

/// What a store saves of a certificate. A store saves every field and returns it unchanged; it need not understand them. A loaded
/// entry is checked like a response of IMDS, and is not used where a check fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store saves every field; a new one must break the stores"
)]
pub struct StoredBinding {
    /// The certificate.
    pub certificate: Certificate,
    /// The client id that it was issued to.
    pub client_id: Guid,
    /// The tenant that it was issued in.
    pub tenant_id: Guid,
    /// `identity_type`, as IMDS gave it.
    pub identity_type: String,
    /// The mTLS endpoint that came with it.
    pub endpoint: String,
    /// The token endpoint that came with it.
    pub token_endpoint: String,
    /// The name under which the key is opened again.
    pub key_name: String,
}

impl StoredBinding {
    /// An entry for an issued certificate and the name of its key.
    pub(crate) fn new(credential: &IssuedCredential, key_name: &str) -> Self {
        Self {
            certificate: credential.certificate.clone(),
            client_id: credential.client_id.clone(),
            tenant_id: credential.tenant_id.clone(),
            identity_type: credential.identity_type.clone(),
            endpoint: credential.endpoint.origin().to_string(),
            token_endpoint: credential.endpoint.token_url().to_string(),
            key_name: key_name.to_owned(),
        }
    }
}

/// What is good among the entries of a key.
pub(crate) struct Selected {
    /// The whole one that ends last.
    pub(crate) chosen: Option<IssuedCredential>,
    /// Those that ended, and those of this container whose key is gone: to be removed.
    pub(crate) orphans: Vec<Certificate>,
}

/// Chooses among entries: of this key, credible, valid, with more left than the floor; the one that ends last. What is another
/// container's is neither chosen nor, while it is valid, an orphan: its key may well be there.
pub(crate) fn select(
    entries: Vec<StoredBinding>,
    key_name: &str,
    public_key: &[u8],
    settings: &Settings,
    now: SystemTime,
) -> Selected {
    let mut orphans = Vec::new();
    let mut chosen: Option<IssuedCredential> = None;
    for entry in entries {
        let is_ours = entry.key_name == key_name;
        let has_ended = entry.certificate.effective_not_after() <= now;
        if has_ended || (is_ours && entry.certificate.check_key(public_key).is_err()) {
            orphans.push(entry.certificate);
            continue;
        }
        if !is_ours || !is_credible(&entry.certificate) || !has_enough_left(&entry.certificate, now)
        {
            continue;
        }
        let ends_later = |credential: &IssuedCredential| {
            chosen.as_ref().is_none_or(|before| {
                before.certificate.effective_not_after()
                    <= credential.certificate.effective_not_after()
            })
        };
        if let Some(credential) = restore(&entry, public_key, settings, now).filter(ends_later) {
            chosen = Some(credential);
        }
    }
    Selected { chosen, orphans }
}

/// The calls of stores that are under way. Each holds a thread of the runtime, and one that hangs does so for as long as
/// it likes: beyond a few of them no more is asked. Waiting for a lock does not count among them.
pub(crate) struct StoreCalls {
    calls: Arc<Semaphore>,
    locks: Arc<Semaphore>,
}

impl StoreCalls {
    /// Has the store look, for as long as it says at most.
    pub(crate) async fn load(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
    ) -> Vec<StoredBinding> {
        let timeout = store.load_timeout();
        let look = begin(&self.calls, move || store.load(&key));
        let Some(look) = look else {
            return Vec::new();
        };
        match tokio::time::timeout(timeout, look).await {
            Ok(Ok(entries)) => entries,
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the store of certificates failed or did not answer in time");
                Vec::new()
            }
        }
    }

    /// Locks the issuance, within the store's timeout.
    pub(crate) async fn lock_issuance(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
    ) -> Option<IssuanceLock> {
        let timeout = store.lock_timeout();
        let wait = begin(&self.locks, move || store.lock_issuance(&key))?;
        // A lock that is acquired after the timeout is dropped, and so released.
        tokio::time::timeout(timeout, wait).await.ok()?.ok()?
    }

    /// Has the store keep an entry, and drop those that ended; nobody waits for it. The lock is released after that. `replaces`: other
    /// entries with the same certificate are removed, too.
    pub(crate) fn save(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
        entry: StoredBinding,
        now: SystemTime,
        replaces: bool,
        lock: Option<IssuanceLock>,
    ) {
        begin(&self.calls, move || {
            if replaces {
                store.remove(&key, &entry.certificate);
            }
            store.save(&key, &entry);
            for old in store.load(&key) {
                if old.certificate.effective_not_after() <= now {
                    store.remove(&key, &old.certificate);
                }
            }
            drop(lock);
        });
    }

    /// Has the store remove entries; nobody waits for it.
    pub(crate) fn remove(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
        certificates: Vec<Certificate>,
    ) {
        begin(&self.calls, move || {
            for certificate in certificates {
                store.remove(&key, &certificate);
            }
        });
    }
}

fn begin<T: Send + 'static>(
    calls: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<JoinHandle<T>> {
    let Ok(permit) = Arc::clone(calls).try_acquire_owned() else {
        tracing::warn!("the store of certificates hangs and is not asked");
        return None;
    };
    Some(tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    }))
}

impl Default for StoreCalls {
    fn default() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
            locks: Arc::new(Semaphore::new(MOST_CALLS)),
        }
    }
}

/// The entry as IMDS would answer it now, checked in the same way.
fn restore(
    entry: &StoredBinding,
    public_key: &[u8],
    settings: &Settings,
    now: SystemTime,
) -> Option<IssuedCredential> {
    let endpoint = MtlsEndpoint::new(
        &entry.endpoint,
        Some(&entry.token_endpoint),
        &entry.tenant_id,
        &settings.policy,
    )
    .ok()?;
    IssuedCredential::restore(
        entry.client_id.clone(),
        entry.tenant_id.clone(),
        entry.certificate.clone(),
        entry.identity_type.clone(),
        endpoint,
        public_key,
        &settings.identity,
        now,
    )
    .ok()
}

/// Whether IMDS may have issued it. Other programs of the account write to the store, and a certificate that one of them made
/// for the key would be preferred for as long as it says.
fn is_credible(certificate: &Certificate) -> bool {
    let is_credible = certificate.is_plausible();
    if !is_credible {
        tracing::warn!(
            issuer = certificate.issuer(),
            "a kept certificate is of another issuer than managed identities have, or lives for longer, and is not used"
        );
    }
    is_credible
}

fn has_enough_left(certificate: &Certificate, now: SystemTime) -> bool {
    let floor = MAX_STALE_TIME.min(certificate.effective_life() / 7);
    certificate
        .effective_not_after()
        .duration_since(now)
        .is_ok_and(|left| left > floor)
}

const MOST_CALLS: usize = 16;
/// As for certificates in memory.
const MAX_STALE_TIME: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_core::{Attestation, ManagedIdentity};
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    /// Hangs until the other end is dropped, and says how long that may take.
    #[derive(Debug)]
    struct Hanging(Mutex<Receiver<()>>);

    impl BindingStore for Hanging {
        fn load(&self, _: &BindingCacheKey) -> Vec<StoredBinding> {
            let _ = self.0.lock().unwrap().recv();
            Vec::new()
        }
        fn save(&self, _: &BindingCacheKey, _: &StoredBinding) {}
        fn remove(&self, _: &BindingCacheKey, _: &Certificate) {}
        fn lock_issuance(&self, key: &BindingCacheKey) -> Option<IssuanceLock> {
            self.load(key);
            None
        }
        fn load_timeout(&self) -> Duration {
            Duration::from_secs(60)
        }
        fn lock_timeout(&self) -> Duration {
            Duration::from_secs(60)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_is_waited_for_as_long_as_it_says() {
        let key = BindingCacheKey {
            identity: ManagedIdentity::system_assigned(),
            attestation: Attestation::None,
        };
        let (let_go, hangs) = channel();
        let store = Arc::new(Hanging(Mutex::new(hangs)));
        let calls = Arc::new(StoreCalls::default());
        let look = tokio::spawn({
            let (calls, store, key) = (Arc::clone(&calls), Arc::clone(&store), key.clone());
            async move { calls.load(store, key).await.len() }
        });
        let lock = tokio::spawn(async move { calls.lock_issuance(store, key).await.is_some() });
        pass(Duration::from_secs(59)).await;
        assert!(!look.is_finished() && !lock.is_finished());
        pass(Duration::from_secs(2)).await;
        assert_eq!((look.await.unwrap(), lock.await.unwrap()), (0, false));
        drop(let_go);
    }

    /// Lets everybody begin to wait, and then come to an end.
    async fn pass(time: Duration) {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(time).await;
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
}
