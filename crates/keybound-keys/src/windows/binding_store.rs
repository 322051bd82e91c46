#[cfg(test)]
mod tests;

use super::certificate_store::{CertificateEntry, CertificateStore};
use super::friendly_name::{FriendlyName, alias};
use super::key_prov_info::KeyProvInfo;
use super::mutex_name::MutexName;
use super::provider::CngProvider;
use super::store_path::StorePath;
use super::windows_api::{Lock, WindowsApi};
use crate::{BindingStore, IssuanceLock, StoredBinding};
use keybound_core::{BindingCacheKey, Certificate};
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::time::Duration;

/// Stores certificates in a certificate store of Windows, in the format of MSAL .NET, for the keys of
/// [`ProviderChain::platform_named`](crate::ProviderChain::platform_named). Certificates for other keys are ignored.
///
/// MSAL .NET finds these entries, and this store those of MSAL .NET, if both are configured with the same spelling of the
/// identity's id: entries are case-sensitive. MSAL Go finds only its own.
///
/// Failures are logged. Every program of this account can add certificates, so an entry proves nothing: one that does not
/// name the issuer of managed identities' certificates, or is valid for more than 30 days, is ignored. Signatures are not
/// verified, since the issuer's key is not public; Entra rejects certificates that it did not issue.
#[derive(Clone, Debug)]
pub struct WindowsBindingStore {
    store: CertificateStore,
    /// The containers of the platform's keys.
    containers: [KeyProvInfo; 3],
    load_timeout: Duration,
    lock_timeout: Duration,
}

impl WindowsBindingStore {
    /// A store for the keys of the platform. `keyguard` names the KeyGuard key (default: MSAL's). MSAL .NET uses only
    /// [`StorePath::current_user_my`].
    #[cfg(windows)]
    pub fn new(path: StorePath, keyguard: Option<&str>) -> Self {
        Self::with_api(super::native::api(), path, keyguard)
    }

    pub(super) fn with_api(
        api: Arc<dyn WindowsApi>,
        path: StorePath,
        keyguard: Option<&str>,
    ) -> Self {
        Self {
            containers: CngProvider::all(&api, keyguard)
                .map(|provider| provider.key_prov_info().clone()),
            store: CertificateStore { api, path },
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

    /// The container of a key of the platform. Here names are case-sensitive.
    fn container(&self, key_name: &str) -> Option<&KeyProvInfo> {
        self.containers
            .iter()
            .find(|container| container.container == key_name)
    }

    /// The entries of an alias, with their names.
    fn entries(&self, alias: &str) -> Vec<(CertificateEntry, FriendlyName)> {
        self.store
            .entries()
            .into_iter()
            .filter_map(|entry| {
                let name = FriendlyName::decode(&entry.friendly_name)?;
                (name.alias == alias.trim()).then_some((entry, name))
            })
            .collect()
    }

    /// Writes entries of an alias under its mutex. If another program of this account holds it for too long, the write is
    /// skipped. If another account denies access to it, the write continues: each change is atomic, and programs of this
    /// account that cannot acquire the mutex write nothing.
    fn write(&self, alias: &str, change: impl FnOnce()) {
        let name = MutexName::of_entries(alias);
        match self.store.api.lock(&name, WRITE_TIMEOUT) {
            Lock::Busy => {
                tracing::debug!("another process writes certificates of this identity: skipped");
            }
            lock @ (Lock::Held(_) | Lock::Unusable) => {
                change();
                drop(lock);
            }
        }
    }
}

impl BindingStore for WindowsBindingStore {
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding> {
        let Some(alias) = alias(key) else {
            return Vec::new();
        };
        self.entries(&alias)
            .into_iter()
            .filter_map(|(entry, name)| {
                let info = entry.key?;
                self.container(&info.container)
                    .filter(|container| container.is_same(&info))?;
                let certificate = Certificate::from_der(&entry.der).ok()?;
                let is_plausible = certificate.is_plausible();
                name.binding(key, certificate, info.container)
                    .filter(|_| is_plausible)
            })
            .collect()
    }

    /// Also removes entries of the identity that have no key, and those of the same key that expire no earlier than the new
    /// one, so that no earlier entry is preferred to it.
    fn save(&self, key: &BindingCacheKey, entry: &StoredBinding) {
        let name = FriendlyName::new(key, entry);
        let (Some(name), Some(container)) = (name, self.container(&entry.key_name)) else {
            return;
        };
        let Some(friendly_name) = name.encode() else {
            tracing::warn!("a certificate cannot be stored under the name of its identity");
            return;
        };
        let new = CertificateEntry {
            der: entry.certificate.der().to_vec(),
            friendly_name,
            key: Some(container.clone()),
        };
        self.write(&name.alias, || {
            let present = self.entries(&name.alias);
            // Other members of the friendly name do not matter.
            let is_new = |(old, old_name): &(CertificateEntry, FriendlyName)| {
                old.der == new.der && old.key == new.key && old_name.endpoint == name.endpoint
            };
            let is_stored = present.iter().any(is_new) || self.store.add(&new);
            for (old, _) in present {
                let is_superseded = old.key.as_ref().is_none_or(|info| {
                    is_stored
                        && info.is_same(container)
                        && expires_no_earlier(&old.der, &entry.certificate)
                });
                if old.der != new.der && is_superseded {
                    self.store.remove(&old.der);
                }
            }
        });
    }

    fn remove(&self, key: &BindingCacheKey, certificate: &Certificate) {
        let Some(alias) = alias(key) else {
            return;
        };
        self.write(&alias, || {
            let entries = self.entries(&alias);
            if entries
                .iter()
                .any(|(entry, _)| entry.der == certificate.der())
            {
                self.store.remove(certificate.der());
            }
        });
    }

    fn lock_issuance(&self, key: &BindingCacheKey) -> Option<IssuanceLock> {
        let name = MutexName::of_issuance(&alias(key)?);
        let (api, timeout) = (Arc::clone(&self.store.api), self.lock_timeout);
        let (guard, dropped) = channel::<()>();
        let (send, acquired) = sync_channel(1);
        // A mutex belongs to the thread that acquired it, and the lock moves between threads.
        std::thread::Builder::new()
            .name("keybound-lock".to_owned())
            .spawn(move || {
                let lock = api.lock(&name, timeout);
                let is_held = matches!(lock, Lock::Held(_));
                let _ = send.send(is_held);
                if is_held {
                    let _ = dropped.recv();
                }
            })
            .ok()?;
        acquired.recv().ok()?.then(|| Box::new(guard) as _)
    }

    fn load_timeout(&self) -> Duration {
        self.load_timeout
    }

    /// With time for the thread to return the lock.
    fn lock_timeout(&self) -> Duration {
        self.lock_timeout.saturating_add(Duration::from_secs(2))
    }
}

/// Whether a stored certificate of the same key expires at the same time as the new one or later.
fn expires_no_earlier(der: &[u8], new: &Certificate) -> bool {
    Certificate::from_der(der).is_ok_and(|stored| {
        stored.public_key_der() == new.public_key_der()
            && stored.effective_not_after() >= new.effective_not_after()
    })
}

const LOAD_TIMEOUT: Duration = Duration::from_secs(2);
/// An issuance takes a second or two.
const LOCK_TIMEOUT: Duration = Duration::from_secs(8);
/// As MSAL .NET. Others hold the mutex for milliseconds.
const WRITE_TIMEOUT: Duration = Duration::from_millis(300);
