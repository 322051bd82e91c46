use super::lock;
use crate::moment::Moment;
use keybound_core::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The attempts to renew one thing: one at a time, and after a failure not again at once.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Renewal {
    /// Whether one has failed: looked at by every hit, which so takes no lock.
    has_failed: AtomicBool,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    /// Until when the one under way counts: a runtime that nobody drives any more does not end it.
    under_way_until: Option<Moment>,
    failures: u32,
    rest_until: Option<Moment>,
    last_failure: Option<Error>,
}

/// Held while an attempt lasts.
pub(crate) struct Attempt(Arc<dyn HasRenewal>);

/// Something that is renewed.
pub(crate) trait HasRenewal: Send + Sync {
    /// Its attempts.
    fn renewal(&self) -> &Renewal;
}

impl Renewal {
    /// Begins an attempt, unless one is under way or the last one failed a short while ago.
    pub(crate) fn begin<T: HasRenewal + 'static>(of: &Arc<T>, now: Moment) -> Option<Attempt> {
        let mut attempts = lock(&of.renewal().attempts);
        if attempts.is_under_way(now) || attempts.rests(now) {
            return None;
        }
        attempts.under_way_until = Some(now.after(LONGEST_ATTEMPT));
        Some(Attempt(Arc::clone(of) as Arc<dyn HasRenewal>))
    }

    /// Whether the last attempt failed a short while ago.
    pub(crate) fn rests(&self, now: Moment) -> bool {
        lock(&self.attempts).rests(now)
    }

    /// Notes a failure. The next attempt is after 30 s, 1, 2, 4, then every 5 minutes, each a little earlier by chance.
    /// Callers who shared an attempt all tell of its failure, which counts once.
    pub(crate) fn failed(&self, now: Moment, error: Error, chance: f64) {
        let mut attempts = lock(&self.attempts);
        if attempts.rests(now) {
            return;
        }
        let doubled = FIRST_REST
            .saturating_mul(1 << attempts.failures.min(8))
            .min(LONGEST_REST);
        attempts.failures = attempts.failures.saturating_add(1);
        attempts.rest_until = Some(now.after(doubled.mul_f64(1.0 - 0.2 * chance)));
        attempts.last_failure = Some(error);
        self.has_failed.store(true, Ordering::Release);
    }

    /// Whether the last attempt failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Why the last attempt failed, if it did.
    pub(crate) fn last_failure(&self) -> Option<Error> {
        if !self.has_failed() {
            return None;
        }
        lock(&self.attempts).last_failure.clone()
    }
}

impl Attempts {
    fn is_under_way(&self, now: Moment) -> bool {
        self.under_way_until
            .is_some_and(|until| !until.has_come(now))
    }

    fn rests(&self, now: Moment) -> bool {
        // A wall clock that was put forward ends a rest early, which is no harm.
        self.rest_until.is_some_and(|until| !until.has_come(now))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        lock(&self.0.renewal().attempts).under_way_until = None;
    }
}

/// An attempt that is driven gives up by itself after half of that.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(120);
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;
    use tokio::time::Instant;

    #[derive(Default)]
    struct Thing(Renewal);

    impl HasRenewal for Thing {
        fn renewal(&self) -> &Renewal {
            &self.0
        }
    }

    #[test]
    fn an_attempt_that_nobody_drives_does_not_stop_renewal() {
        let thing = Arc::<Thing>::default();
        let now = Moment {
            wall: SystemTime::UNIX_EPOCH,
            steady: Instant::now(),
        };
        let left_lying = Renewal::begin(&thing, now);
        assert!(left_lying.is_some());
        assert!(Renewal::begin(&thing, now.after(LONGEST_ATTEMPT / 2)).is_none());
        assert!(Renewal::begin(&thing, now.after(LONGEST_ATTEMPT)).is_some());
    }
}
