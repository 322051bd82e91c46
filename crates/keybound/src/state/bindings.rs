use super::renewal::{HasRenewal, Renewal};
use crate::Binding;
use crate::moment::Moment;
use keybound_core::{Attestation, Certificate};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

/// The certificates of one identity: at most one for each kind of attestation.
#[derive(Default)]
pub(crate) struct Bindings(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    current: HashMap<Attestation, Arc<CachedBinding>>,
    rejected: HashMap<Attestation, Rejected>,
}

/// A certificate that was refused.
struct Rejected {
    certificate: Certificate,
    /// Whether the peer said so.
    explicit: bool,
    at: Moment,
}

/// A certificate, and when it is to be renewed.
pub(crate) struct CachedBinding {
    pub(crate) binding: Arc<Binding>,
    pub(crate) got: Moment,
    /// NotAfter: tokens that are bound to it end with it.
    expires: Moment,
    /// From then on it gets no new tokens.
    tokens_end: Moment,
    renew: Moment,
    stale: Moment,
    renewal: Renewal,
    /// Whether it was loaded from the store and no token was issued with it yet.
    unproven: AtomicBool,
}

impl CachedBinding {
    /// A certificate as it was issued. It is renewed at half of its life, or a tenth of that later by `chance` (0 to 1):
    /// before, IMDS answers the same one. One that came later than that (from the store; or the host's clock is wrong) has a
    /// quarter of what is left, so that renewals never follow one on another.
    pub(crate) fn new(binding: Arc<Binding>, got: Moment, chance: f64) -> Self {
        let certificate = binding.certificate();
        let left_until = |end: SystemTime| end.duration_since(got.wall).unwrap_or_default();
        let life = certificate.effective_life();
        let left = left_until(certificate.effective_not_after());
        let used = life.saturating_sub(left);
        let half = (life / 2).mul_f64(1.0 + 0.1 * chance);
        Self {
            expires: got.after(left_until(certificate.not_after())),
            tokens_end: got.after(left),
            renew: got.after(half.saturating_sub(used).max(left / 4)),
            stale: got.after(left.saturating_sub(MOST_REMAINING_LIFE.min(life / 7))),
            renewal: Renewal::default(),
            unproven: AtomicBool::new(false),
            binding,
            got,
        }
    }

    /// Marks a certificate that was loaded from the store: its endpoint is only what the entry claims.
    pub(crate) fn with_endpoint_unproven(self) -> Self {
        self.unproven.store(true, Ordering::Relaxed);
        self
    }

    /// A token was issued with it.
    pub(crate) fn set_proven(&self) {
        self.unproven.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_unproven(&self) -> bool {
        self.unproven.load(Ordering::Relaxed)
    }

    /// Until then there is nothing to do about it.
    pub(super) fn rests_until(&self) -> Moment {
        self.renew.or_sooner(self.tokens_end)
    }

    /// Whether tokens are no longer asked for with it.
    fn gets_no_tokens(&self, now: Moment) -> bool {
        self.tokens_end.has_come(now)
    }

    /// Whether TLS with it fails, so that its tokens are worth nothing.
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
    /// The current certificate, unless it gets no new tokens any more.
    pub(crate) fn get(&self, attestation: Attestation, now: Moment) -> Option<Arc<CachedBinding>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.current
            .get(&attestation)
            .filter(|binding| !binding.gets_no_tokens(now))
            .cloned()
    }

    pub(super) fn put(&self, attestation: Attestation, binding: Arc<CachedBinding>) {
        let mut kept = self.write();
        kept.rejected.remove(&attestation);
        kept.current.insert(attestation, binding);
    }

    /// Forgets a refused certificate, if it is still the current one. The next is minted past IMDS's cache. `explicit`: the
    /// peer said that it refuses it.
    pub(crate) fn reject(
        &self,
        attestation: Attestation,
        refused: &Arc<CachedBinding>,
        explicit: bool,
        now: Moment,
    ) {
        let mut kept = self.write();
        if kept
            .current
            .get(&attestation)
            .is_some_and(|current| current.is(refused))
        {
            kept.current.remove(&attestation);
            let rejected = Rejected {
                certificate: refused.binding.certificate().clone(),
                explicit,
                at: now,
            };
            kept.rejected.insert(attestation, rejected);
        }
    }

    /// Removes a certificate, if it is still the current one.
    pub(crate) fn remove(&self, attestation: Attestation, binding: &CachedBinding) {
        let mut kept = self.write();
        if let Entry::Occupied(current) = kept.current.entry(attestation)
            && current.get().is(binding)
        {
            current.remove();
        }
    }

    /// Whether the last certificate was refused, so that the next is minted past IMDS's cache.
    pub(crate) fn was_rejected(&self, attestation: Attestation) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .rejected
            .contains_key(&attestation)
    }

    /// Whether a peer said a short while ago that it refuses this certificate, so that asking with it again is useless. After
    /// that it is tried again where IMDS issues no other: it may have been a proxy that refused it.
    pub(crate) fn was_refused(
        &self,
        attestation: Attestation,
        certificate: &Certificate,
        now: Moment,
    ) -> bool {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.rejected.get(&attestation).is_some_and(|rejected| {
            rejected.explicit
                && rejected.certificate == *certificate
                && !rejected.at.after(REFUSAL_COUNTS).has_come(now)
        })
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as a mint past IMDS's cache counts against the limit of them.
const REFUSAL_COUNTS: Duration = Duration::from_secs(5 * 60);
/// A fixed floor of 24 hours would never keep the certificates of 8 hours that have been seen.
const MOST_REMAINING_LIFE: Duration = Duration::from_secs(24 * 3600);
