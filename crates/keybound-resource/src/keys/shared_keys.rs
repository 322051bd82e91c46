use super::refresh_schedule::{Intervals, RefreshSchedule};
use super::{IssuerKeys, KeyOrigin};
use crate::clock::GuardedClock;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Discovered keys that verifiers share: those of an issuer are fetched once for all, and a verifier that replaces another one has
/// keys at once. Clones share the same keys. They are fetched with the fetcher of the verifier that starts the refresh: share them between
/// verifiers that trust the same servers only. Their age is measured by the clock of the verifier that had them first. Keys with another
/// [maximum age](super::Keys::max_age) are others.
#[derive(Clone, Default)]
pub struct SharedKeys(Arc<Mutex<Known>>);

/// By origin and maximum age.
type Known = HashMap<(KeyOrigin, i64), Weak<IssuerKeys>>;

impl SharedKeys {
    /// No keys yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys of an origin, which exist as long as a verifier uses them.
    pub(super) fn get(
        &self,
        origin: KeyOrigin,
        max_age: i64,
        clock: &Arc<GuardedClock>,
    ) -> Arc<IssuerKeys> {
        // A panic cannot leave the map incomplete.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (origin, max_age);
        if let Some(keys) = known.get(&id).and_then(Weak::upgrade) {
            return keys;
        }
        known.retain(|_, keys| keys.strong_count() > 0);
        let schedule = RefreshSchedule::new(Intervals::DISCOVERED);
        let keys = IssuerKeys::new(id.0.clone(), max_age, Arc::clone(clock), schedule);
        let keys = Arc::new(keys);
        known.insert(id, Arc::downgrade(&keys));
        keys
    }
}

impl fmt::Debug for SharedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeys").finish_non_exhaustive()
    }
}
