use super::renewal::{HasRenewal, Renewal};
use crate::Binding;
use crate::moment::Moment;
use keybound_core::Attestation;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

/// The certificates of one identity: at most one for each kind of attestation.
#[derive(Default)]
pub(crate) struct Bindings(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    current: HashMap<Attestation, Arc<CachedBinding>>,
    rejected: HashSet<Attestation>,
}

/// A certificate, and when it is to be renewed.
pub(crate) struct CachedBinding {
    pub(crate) binding: Arc<Binding>,
    pub(crate) got: Moment,
    expires: Moment,
    renew: Moment,
    stale: Moment,
    renewal: Renewal,
}

impl CachedBinding {
    /// A certificate as it was issued. It is renewed at half of its life, or a tenth of that later by `chance` (0 to 1):
    /// before, IMDS answers the same one. One that came later than that (from the store; or the host's clock is wrong) has a
    /// quarter of what is left, so that renewals never follow one on another.
    pub(crate) fn new(binding: Arc<Binding>, got: Moment, chance: f64) -> Self {
        let certificate = binding.certificate();
        let life = certificate
            .not_after()
            .duration_since(certificate.not_before())
            .unwrap_or_default();
        let left = certificate
            .not_after()
            .duration_since(got.wall)
            .unwrap_or_default();
        let used = life.saturating_sub(left);
        let half = (life / 2).mul_f64(1.0 + 0.1 * chance);
        Self {
            expires: got.after(left),
            renew: got.after(half.saturating_sub(used).max(left / 4)),
            stale: got.after(left.saturating_sub(MOST_REMAINING_LIFE.min(life / 7))),
            renewal: Renewal::default(),
            binding,
            got,
        }
    }

    /// Until then there is nothing to do about it.
    pub(super) fn rests_until(&self) -> Moment {
        self.renew.or_sooner(self.expires)
    }

    pub(crate) fn has_ended(&self, now: Moment) -> bool {
        // Its beginning was checked when it came: a clock that was put back since does not undo it.
        self.expires.has_come(now)
    }

    /// Whether so little of its life remains that a new one is wanted first.
    pub(crate) fn is_stale(&self, now: Moment) -> bool {
        self.stale.has_come(now)
    }

    /// Whether it is to be renewed ahead.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        self.renew.has_come(now)
    }

    /// Whether it is the same certificate.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.binding.certificate() == other.binding.certificate()
    }
}

impl HasRenewal for CachedBinding {
    fn renewal(&self) -> &Renewal {
        &self.renewal
    }
}

impl Bindings {
    /// The current certificate, unless it has ended.
    pub(crate) fn get(&self, attestation: Attestation, now: Moment) -> Option<Arc<CachedBinding>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.current
            .get(&attestation)
            .filter(|binding| !binding.has_ended(now))
            .cloned()
    }

    pub(super) fn put(&self, attestation: Attestation, binding: Arc<CachedBinding>) {
        let mut kept = self.write();
        kept.rejected.remove(&attestation);
        kept.current.insert(attestation, binding);
    }

    /// Forgets a refused certificate, if it is still the current one. The next is minted past IMDS's cache.
    pub(crate) fn reject(&self, attestation: Attestation, refused: &Arc<CachedBinding>) {
        let mut kept = self.write();
        if kept
            .current
            .get(&attestation)
            .is_some_and(|current| current.is(refused))
        {
            kept.current.remove(&attestation);
            kept.rejected.insert(attestation);
        }
    }

    /// Whether the last certificate was refused, so that the next is minted past IMDS's cache.
    pub(crate) fn was_rejected(&self, attestation: Attestation) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .rejected
            .contains(&attestation)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fixed floor of 24 hours would never keep the certificates of 8 hours that have been seen.
const MOST_REMAINING_LIFE: Duration = Duration::from_secs(24 * 3600);
