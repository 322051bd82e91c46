//! Certificates that are stored across processes, with the name of their key.
#[cfg(windows)]
pub use keybound_keys::windows::{StoreLocation, StorePath, WindowsBindingStore};
pub use keybound_keys::{BindingStore, IssuanceLock, StoredBinding};

use crate::settings::Settings;
pub use keybound_core::BindingCacheKey;
use keybound_core::{
    Attestation, Certificate, Error, ErrorKind, IssuedCredential, MtlsEndpoint, Result, Stage,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The default store of the platform.
#[cfg(windows)]
pub(crate) fn platform_store(environment: &crate::Environment) -> Option<Arc<dyn BindingStore>> {
    let path = StorePath::current_user_my();
    let store = WindowsBindingStore::new(path, environment.key_name());
    Some(Arc::new(store))
}

/// The default store of the platform.
#[cfg(not(windows))]
pub(crate) fn platform_store(_: &crate::Environment) -> Option<Arc<dyn BindingStore>> {
    None
}

/// A certificate that a store has for later processes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredCertificate {
    /// The certificate with the name of its key and its endpoints.
    pub binding: StoredBinding,
    /// Whether its key was attested.
    pub attestation: Attestation,
    /// Whether token requests use it.
    pub state: StoredState,
}

/// Whether token requests use a stored certificate, as far as that is known without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredState {
    /// They use it if its key still exists.
    Usable,
    /// Little of its lifetime is left: the next request gets a new one.
    Stale,
    /// It has expired, or Entra issues no tokens for it any longer: the next request removes it.
    Expired,
    /// By the clock of this host it is not yet valid.
    NotYetValid,
    /// It does not name the issuer of managed identities, or is valid for too long. Other programs of the account can add
    /// certificates to the store; one that they issued for the key would otherwise be used until it expires.
    Implausible,
}

impl StoredState {
    /// The stable name in results: `usable`, `stale`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Implausible => "implausible",
        }
    }

    /// The state of a certificate at `now`.
    pub(crate) fn of(certificate: &Certificate, now: SystemTime) -> Self {
        let left = certificate.effective_not_after().duration_since(now);
        match left.unwrap_or_default() {
            Duration::ZERO => Self::Expired,
            _ if !certificate.is_plausible() => Self::Implausible,
            _ if certificate.not_before() > now => Self::NotYetValid,
            left if left > stale_time(certificate) => Self::Usable,
            _ => Self::Stale,
        }
    }
}

/// The entry for an issued certificate and the name of its key.
pub(crate) fn entry(credential: &IssuedCredential, key_name: &str) -> StoredBinding {
    StoredBinding {
        certificate: credential.certificate.clone(),
        client_id: credential.client_id.clone(),
        tenant_id: credential.tenant_id.clone(),
        identity_type: credential.identity_type.clone(),
        endpoint: credential.endpoint.origin().to_string(),
        token_endpoint: credential.endpoint.token_url().to_string(),
        key_name: key_name.to_owned(),
    }
}

/// The result of [`select`].
pub(crate) struct Selected {
    /// The valid certificate that expires last.
    pub(crate) chosen: Option<IssuedCredential>,
    /// Certificates to remove: expired ones, and those of this key container that are for another key.
    pub(crate) orphans: Vec<Certificate>,
}

/// Selects the certificate that expires last among the entries that are for this key, plausible, valid, and not about to expire.
/// Entries of other key containers are not selected; they are orphans only once they have expired, since their key may exist.
pub(crate) fn select(
    entries: Vec<StoredBinding>,
    key_name: &str,
    public_key: &[u8],
    settings: &Settings,
    now: SystemTime,
) -> Selected {
    let mut orphans = Vec::new();
    let mut candidates = Vec::new();
    for entry in entries {
        let names_key = entry.key_name == key_name;
        let state = StoredState::of(&entry.certificate, now);
        let has_expired = state == StoredState::Expired;
        if has_expired || (names_key && entry.certificate.check_key(public_key).is_err()) {
            orphans.push(entry.certificate);
        } else if names_key && state == StoredState::Usable {
            candidates.extend(restore(&entry, public_key, settings, now));
        } else if names_key && state == StoredState::Implausible {
            tracing::warn!(
                issuer = entry.certificate.issuer(),
                "skipping a stored certificate: not issued by the issuer of managed identities, or valid for too long"
            );
        }
    }
    let chosen = candidates
        .into_iter()
        .max_by_key(|credential| credential.certificate.effective_not_after());
    Selected { chosen, orphans }
}

/// The calls of stores in progress. Each blocks a thread of the runtime, and one that hangs does so without a limit: the number of
/// concurrent calls is limited. Waits for a lock have a separate limit.
pub(crate) struct StoreCalls {
    calls: Arc<Semaphore>,
    locks: Arc<Semaphore>,
}

impl StoreCalls {
    /// Loads the entries, within the store's timeout; none if the store fails.
    pub(crate) async fn load_or_none(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
    ) -> Vec<StoredBinding> {
        self.load(store, key).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "skipping the certificate store");
            Vec::new()
        })
    }

    /// Loads the entries, within the store's timeout.
    pub(crate) async fn load(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
    ) -> Result<Vec<StoredBinding>> {
        let failed = |kind, message| Err(Error::new(kind, Stage::Credential, message));
        let timeout = store.load_timeout();
        let Some(load) = spawn(&self.calls, move || store.load(&key)) else {
            return failed(ErrorKind::DeadlineExceeded, NOT_IN_TIME);
        };
        match tokio::time::timeout(timeout, load).await {
            Ok(Ok(entries)) => Ok(entries),
            Ok(Err(_)) => failed(ErrorKind::KeyFailed, "the certificate store failed"),
            Err(_) => failed(ErrorKind::DeadlineExceeded, NOT_IN_TIME),
        }
    }

    /// Locks the issuance, within the store's timeout.
    pub(crate) async fn lock_issuance(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
    ) -> Option<IssuanceLock> {
        let timeout = store.lock_timeout();
        let wait = spawn(&self.locks, move || store.lock_issuance(&key))?;
        // A lock that is acquired after the timeout is dropped, and so released.
        tokio::time::timeout(timeout, wait).await.ok()?.ok()?
    }

    /// Saves an entry and removes expired ones, in the background; then releases the lock. `replaces`: other entries with the same
    /// certificate are removed first.
    pub(crate) fn save(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
        entry: StoredBinding,
        now: SystemTime,
        replaces: bool,
        lock: Option<IssuanceLock>,
    ) {
        spawn(&self.calls, move || {
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

    /// Removes entries, in the background.
    pub(crate) fn remove(
        &self,
        store: Arc<dyn BindingStore>,
        key: BindingCacheKey,
        certificates: Vec<Certificate>,
    ) {
        spawn(&self.calls, move || {
            for certificate in certificates {
                store.remove(&key, &certificate);
            }
        });
    }
}

const NOT_IN_TIME: &str = "the certificate store did not respond in time";

/// Runs a call on a blocking thread. `None` if the limit is reached.
fn spawn<T: Send + 'static>(
    calls: &Arc<Semaphore>,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<JoinHandle<T>> {
    let Ok(permit) = Arc::clone(calls).try_acquire_owned() else {
        tracing::warn!("certificate store is unresponsive; skipping it");
        return None;
    };
    Some(tokio::task::spawn_blocking(move || {
        let _permit = permit;
        call()
    }))
}

impl Default for StoreCalls {
    fn default() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            locks: Arc::new(Semaphore::new(MAX_CALLS)),
        }
    }
}

/// Checks an entry like a response of IMDS.
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
        &settings.shared.policy,
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

/// The remaining lifetime at which a certificate becomes stale, so that a new one is fetched first.
pub(crate) fn stale_time(certificate: &Certificate) -> Duration {
    MAX_STALE_TIME.min(certificate.effective_life() / 7)
}

/// 24 hours would be more than the whole lifetime of the 8-hour certificates that IMDS has issued.
const MAX_STALE_TIME: Duration = Duration::from_secs(24 * 3600);
const MAX_CALLS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_core::ManagedIdentity;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    #[test]
    fn state_of_stored_certificate_is_that_for_token_requests() {
        const DAY: u64 = 24 * 3600;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * DAY);
        let ahead = |days: f64| now + Duration::from_secs_f64(days * DAY as f64);
        let ago = |days: f64| now - Duration::from_secs_f64(days * DAY as f64);
        let issuer = "managedidentitysnissuer.login.microsoft.com";
        let key = keybound_testing::shared_p256_key();
        for (issuer, validity, token_end, state) in [
            (issuer, ago(1.0)..ahead(6.0), None, StoredState::Usable),
            (
                issuer,
                ago(1.0)..ahead(6.0),
                Some(ahead(1.1)),
                StoredState::Usable,
            ),
            (issuer, ago(6.0)..ahead(0.9), None, StoredState::Stale),
            (
                issuer,
                ago(6.0)..ahead(6.0),
                Some(ahead(0.9)),
                StoredState::Stale,
            ),
            (issuer, ago(7.0)..now, None, StoredState::Expired),
            (
                issuer,
                ago(7.0)..ahead(7.0),
                Some(ago(0.1)),
                StoredState::Expired,
            ),
            (
                issuer,
                ahead(0.1)..ahead(7.0),
                None,
                StoredState::NotYetValid,
            ),
            (
                issuer,
                ago(1.0)..ahead(30.0),
                None,
                StoredState::Implausible,
            ),
            (
                "other",
                ago(1.0)..ahead(6.0),
                None,
                StoredState::Implausible,
            ),
            ("other", ago(2.0)..ago(1.0), None, StoredState::Expired),
        ] {
            let builder = keybound_testing::CertificateBuilder::new(key)
                .issuer(issuer)
                .validity(validity);
            let builder = match token_end {
                Some(end) => builder.token_not_after(end),
                None => builder,
            };
            let der = builder.sign(key).to_der().unwrap();
            let certificate = Certificate::from_der(&der).unwrap();
            let found = StoredState::of(&certificate, now);
            assert_eq!(found, state, "{certificate:?} {token_end:?}");
        }
    }

    /// Hangs until the sender is dropped, with timeouts of a minute.
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
    async fn waits_for_a_store_until_its_timeouts() {
        let key = BindingCacheKey {
            identity: ManagedIdentity::system_assigned(),
            attestation: Attestation::None,
        };
        let (release, hangs) = channel();
        let store = Arc::new(Hanging(Mutex::new(hangs)));
        let calls = Arc::new(StoreCalls::default());
        let load = tokio::spawn({
            let (calls, store, key) = (Arc::clone(&calls), Arc::clone(&store), key.clone());
            async move { calls.load(store, key).await }
        });
        let lock = tokio::spawn(async move { calls.lock_issuance(store, key).await.is_some() });
        advance(Duration::from_secs(59)).await;
        assert!(!load.is_finished() && !lock.is_finished());
        advance(Duration::from_secs(2)).await;
        let error = load.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(!lock.await.unwrap());
        drop(release);
    }

    /// Advances the clock between two runs of the other tasks.
    async fn advance(time: Duration) {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(time).await;
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
}
