use super::msal::{endpoint_of, name_of, restore};
use super::{BindingStore, StoreTurn, StoredBinding};
use crate::Environment;
use keybound_core::{BindingCacheKey, Certificate};
use keybound_keys::windows::{CngProvider, PersistedCertificate, Persistence, StorePath};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Keeps certificates in a certificate store of Windows, in the form of MSAL .NET, for keys that
/// [`ProviderChain::platform_named`](crate::ProviderChain::platform_named) opens. Those of other keys it leaves alone.
///
/// MSAL .NET finds these entries, and this its, where both are given the identity's id in the same letters: it is kept and
/// compared as it was configured. MSAL Go finds none that it did not write.
#[derive(Clone, Debug)]
pub struct WindowsBindingStore {
    kept: Persistence,
    key_names: Vec<String>,
    longest_look: Duration,
    longest_turn: Duration,
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
            kept: Persistence::in_store(path),
            key_names: providers
                .map(|provider| provider.key_name().to_owned())
                .to_vec(),
            longest_look: LONGEST_LOOK,
            longest_turn: LONGEST_TURN,
        }
    }

    /// How long is waited for the store. Default: two seconds. More is for hosts that stand still for long. Writes wait 300 ms
    /// for other programs that write entries of the same identity, and are then skipped; nobody waits for writes.
    #[must_use]
    pub fn with_longest_look(mut self, longest: Duration) -> Self {
        self.longest_look = longest;
        self
    }

    /// How long is waited for the turn to have a certificate issued. Default: eight seconds.
    #[must_use]
    pub fn with_longest_turn(mut self, longest: Duration) -> Self {
        self.longest_turn = longest;
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

    fn turn(&self, key: &BindingCacheKey) -> Option<StoreTurn> {
        let turn = self.kept.take_turn(&alias(key)?, self.longest_turn)?;
        Some(Box::new(turn))
    }

    fn longest_look(&self) -> Duration {
        self.longest_look
    }

    /// With time for the turn to be told of.
    fn longest_turn(&self) -> Duration {
        self.longest_turn.saturating_add(Duration::from_secs(2))
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
    Some(Persistence::alias(id, attested))
}

const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// An issue takes a second or two.
const LONGEST_TURN: Duration = Duration::from_secs(8);
