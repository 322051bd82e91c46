use super::{DualTime, RefreshAttempts, Refreshable};
use crate::Binding;
use crate::store::stale_time;
use keybound_core::{Attestation, Certificate, lock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// The certificates of one identity: at most one for each kind of attestation.
#[derive(Default)]
pub(crate) struct BindingCache(Mutex<Certificates>);

#[derive(Default)]
struct Certificates {
    current: HashMap<Attestation, Arc<CachedBinding>>,
    rejected: HashMap<Attestation, Rejected>,
}

/// A certificate that was rejected.
struct Rejected {
    certificate: Certificate,
    /// Whether the peer rejected it by a response or an alert.
    explicit: bool,
    at: DualTime,
}

/// A certificate with its times of renewal.
pub(crate) struct CachedBinding {
    pub(crate) binding: Arc<Binding>,
    pub(crate) received: DualTime,
    /// NotAfter: the tokens bound to it expire with it.
    expires: DualTime,
    /// The time from which no tokens are issued for it.
    tokens_end: DualTime,
    renew: DualTime,
    stale: DualTime,
    renewal: RefreshAttempts,
    /// Whether it was loaded from the store and no token was issued with it yet.
    unproven: AtomicBool,
}

impl CachedBinding {
    /// A certificate received at `received`. It is renewed at half of its lifetime, or up to a tenth of that later by `chance`
    /// (0 to 1): before, IMDS returns the same one. A certificate received later than that (from the store, or because the host
    /// clock is wrong) is renewed after a quarter of its remaining lifetime, so that renewals never run in a loop.
    pub(crate) fn new(binding: Arc<Binding>, received: DualTime, chance: f64) -> Self {
        let certificate = binding.certificate();
        let remaining_until =
            |end: SystemTime| end.duration_since(received.wall).unwrap_or_default();
        let life = certificate.effective_life();
        let remaining = remaining_until(certificate.effective_not_after());
        let used = life.saturating_sub(remaining);
        let half = (life / 2).mul_f64(1.0 + 0.1 * chance);
        Self {
            expires: received.after(remaining_until(certificate.not_after())),
            tokens_end: received.after(remaining),
            renew: received.after(half.saturating_sub(used).max(remaining / 4)),
            stale: received.after(remaining.saturating_sub(stale_time(certificate))),
            renewal: RefreshAttempts::default(),
            unproven: AtomicBool::new(false),
            binding,
            received,
        }
    }

    /// The same certificate with its times, over other connections.
    pub(crate) fn with_binding(&self, binding: Arc<Binding>) -> Self {
        Self {
            binding,
            renewal: RefreshAttempts::default(),
            unproven: AtomicBool::new(self.is_unproven()),
            ..*self
        }
    }

    /// Marks a certificate that was loaded from the store: its endpoint is unverified.
    pub(crate) fn with_endpoint_unproven(self) -> Self {
        self.unproven.store(true, Ordering::Relaxed);
        self
    }

    /// Records that a token was issued with it.
    pub(crate) fn set_proven(&self) {
        self.unproven.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_unproven(&self) -> bool {
        self.unproven.load(Ordering::Relaxed)
    }

    /// The time until which it is not due for renewal.
    pub(super) fn fresh_until(&self) -> DualTime {
        self.renew.min(self.tokens_end)
    }

    /// Whether it is past NotAfter: TLS with it fails, so its tokens are unusable.
    pub(crate) fn has_expired(&self, now: DualTime) -> bool {
        // NotBefore was checked when it was issued: a clock that is set back later does not invalidate it.
        self.expires.has_passed(now)
    }

    /// Whether so little of its lifetime remains that a new certificate is minted first.
    pub(crate) fn is_stale(&self, now: DualTime) -> bool {
        self.stale.has_passed(now)
    }

    /// Whether it is due for renewal in the background.
    pub(crate) fn is_due(&self, now: DualTime) -> bool {
        self.renew.has_passed(now)
    }

    /// Whether it is the same certificate.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.binding.certificate() == other.binding.certificate()
    }
}

impl Refreshable for CachedBinding {
    fn renewal(&self) -> &RefreshAttempts {
        &self.renewal
    }
}

impl BindingCache {
    /// The current certificate, unless no more tokens are issued for it.
    pub(crate) fn get(
        &self,
        attestation: Attestation,
        now: DualTime,
    ) -> Option<Arc<CachedBinding>> {
        lock(&self.0)
            .current
            .get(&attestation)
            .filter(|binding| !binding.tokens_end.has_passed(now))
            .cloned()
    }

    pub(super) fn put(&self, attestation: Attestation, binding: Arc<CachedBinding>) {
        let mut certificates = lock(&self.0);
        certificates.rejected.remove(&attestation);
        certificates.current.insert(attestation, binding);
    }

    /// Evicts a rejected certificate, if it is still the current one. The next one is minted past IMDS's cache. `explicit`: the
    /// peer rejected it by a response or an alert.
    pub(crate) fn reject(
        &self,
        attestation: Attestation,
        rejected: &Arc<CachedBinding>,
        explicit: bool,
        now: DualTime,
    ) {
        let mut certificates = lock(&self.0);
        if certificates.remove(attestation, rejected) {
            let rejected = Rejected {
                certificate: rejected.binding.certificate().clone(),
                explicit,
                at: now,
            };
            certificates.rejected.insert(attestation, rejected);
        }
    }

    /// Removes a certificate, if it is still the current one.
    pub(crate) fn remove(&self, attestation: Attestation, binding: &CachedBinding) {
        lock(&self.0).remove(attestation, binding);
    }

    /// Whether the last certificate was rejected, so that the next is minted past IMDS's cache.
    pub(crate) fn was_rejected(&self, attestation: Attestation) -> bool {
        lock(&self.0).rejected.contains_key(&attestation)
    }

    /// Whether a peer recently rejected this certificate, so that a request with it is useless. Later it is tried again if IMDS
    /// issues no other: a proxy may have rejected it.
    pub(crate) fn was_rejected_explicitly(
        &self,
        attestation: Attestation,
        certificate: &Certificate,
        now: DualTime,
    ) -> bool {
        let certificates = lock(&self.0);
        certificates
            .rejected
            .get(&attestation)
            .is_some_and(|rejected| {
                rejected.explicit
                    && rejected.certificate == *certificate
                    && !rejected.at.after(REJECTION_LIFETIME).has_passed(now)
            })
    }
}

impl Certificates {
    /// Removes a certificate, if it is still the current one. Returns whether it was.
    fn remove(&mut self, attestation: Attestation, binding: &CachedBinding) -> bool {
        let current = self.current.get(&attestation);
        let is_current = current.is_some_and(|current| current.is(binding));
        if is_current {
            self.current.remove(&attestation);
        }
        is_current
    }
}

/// As long as a mint past IMDS's cache counts against the limit of such mints.
const REJECTION_LIFETIME: Duration = Duration::from_secs(5 * 60);
