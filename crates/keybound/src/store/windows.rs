use super::msal::{endpoint_of, name_of, restore};
use super::{BindingStore, IssuanceLock, StoredBinding};
use crate::Environment;
use keybound_core::{BindingCacheKey, Certificate};
use keybound_keys::windows::{CngProvider, MsalCertificateCache, PersistedCertificate, StorePath};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Keeps certificates in a certificate store of Windows, in the form of MSAL .NET, for keys that
/// [`ProviderChain::platform_named`](crate::keys::ProviderChain::platform_named) opens. Those of other keys it leaves alone.
///
/// MSAL .NET finds these entries, and this its, where both are given the identity's id in the same letters: it is kept and
/// compared as it was configured. MSAL Go finds none that it did not write.
#[derive(Clone, Debug)]
pub struct WindowsBindingStore {
    kept: MsalCertificateCache,
    key_names: Vec<String>,
    load_timeout: Duration,
    lock_timeout: Duration,
}

impl WindowsBindingStore {
    /// A store for the keys of the platform, the KeyGuard key by this name (default: MSAL's). MSAL .NET looks into
    /// [`StorePath::current_user_my`] only.
    pub fn new(path: StorePath, keyguard: Option<&str>) -> Self {
        let providers = [
            CngProvider::keyguard(keyguard),
            CngProvider::platform(),
            CngProvider::software(),
        ];
        Self {
            kept: MsalCertificateCache::in_store(path),
            key_names: providers
                .map(|provider| provider.key_name().to_owned())
                .to_vec(),
            load_timeout: LOAD_TIMEOUT,
            lock_timeout: LOCK_TIMEOUT,
        }
    }

    /// The timeout of [`load`](BindingStore::load). Default: two seconds; longer for hosts that are often suspended. A write
    /// waits 300 ms for other programs that write entries of the same identity, and is then skipped; no acquisition waits for
    /// a write.
    #[must_use]
    pub fn with_load_timeout(mut self, timeout: Duration) -> Self {
        self.load_timeout = timeout;
        self
    }

    /// The timeout of [`lock_issuance`](BindingStore::lock_issuance). Default: eight seconds.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    fn is_ours(&self, key_name: &str) -> bool {
        self.key_names.iter().any(|name| name == key_name)
    }
}

impl BindingStore for WindowsBindingStore {
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding> {
        let Some(alias) = alias(key) else {
            return Vec::new();
        };
        self.kept
            .load(&alias)
            .into_iter()
            .filter(|entry| self.is_ours(&entry.key_name))
            .filter_map(|entry| restore(key, entry.certificate, &entry.endpoint, entry.key_name))
            .collect()
    }

    fn save(&self, key: &BindingCacheKey, entry: &StoredBinding) {
        let (Some(alias), Some(endpoint)) = (alias(key), endpoint_of(entry)) else {
            return;
        };
        if self.is_ours(&entry.key_name) {
            let certificate = entry.certificate.clone();
            let kept = PersistedCertificate::new(certificate, endpoint, &entry.key_name);
            // Those that ended are removed by the caller, who has the clock.
            self.kept.save(&alias, &kept, SystemTime::UNIX_EPOCH);
        }
    }

    fn remove(&self, key: &BindingCacheKey, certificate: &Certificate) {
        if let Some(alias) = alias(key) {
            self.kept.remove(&alias, certificate);
        }
    }

    fn lock_issuance(&self, key: &BindingCacheKey) -> Option<IssuanceLock> {
        let lock = self.kept.take_turn(&alias(key)?, self.lock_timeout)?;
        Some(Box::new(lock))
    }

    fn load_timeout(&self) -> Duration {
        self.load_timeout
    }

    /// With time for the thread to return the lock.
    fn lock_timeout(&self) -> Duration {
        self.lock_timeout.saturating_add(Duration::from_secs(2))
    }
}

/// Where certificates are kept by default.
pub(crate) fn of_platform(environment: &Environment) -> Option<Arc<dyn BindingStore>> {
    let path = StorePath::current_user_my();
    Some(Arc::new(WindowsBindingStore::new(
        path,
        environment.key_name(),
    )))
}

fn alias(key: &BindingCacheKey) -> Option<String> {
    let (id, attested) = name_of(key)?;
    Some(MsalCertificateCache::alias(id, attested))
}

const LOAD_TIMEOUT: Duration = Duration::from_secs(2);
/// An issue takes a second or two.
const LOCK_TIMEOUT: Duration = Duration::from_secs(8);
