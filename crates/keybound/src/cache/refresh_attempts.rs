use super::DualTime;
use keybound_core::{Error, lock};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The attempts to refresh one token or certificate: one at a time, with a backoff after a failure.
#[derive(Default)]
#[repr(C)]
pub(crate) struct RefreshAttempts {
    /// Whether the last one failed: read by every hit, which takes no lock.
    has_failed: AtomicBool,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    /// Until when the one in progress counts: a runtime that is no longer driven does not end it.
    in_progress_until: Option<DualTime>,
    failures: u32,
    backoff_until: Option<DualTime>,
    last_failure: Option<Error>,
}

/// Held while an attempt lasts.
pub(crate) struct Attempt(Arc<dyn Refreshable>);

/// A token or certificate that is refreshed.
pub(crate) trait Refreshable: Send + Sync {
    /// Its attempts.
    fn renewal(&self) -> &RefreshAttempts;
}

impl RefreshAttempts {
    /// Starts an attempt, unless one is in progress or the last failure's backoff lasts.
    pub(crate) fn begin<T: Refreshable + 'static>(of: &Arc<T>, now: DualTime) -> Option<Attempt> {
        let mut attempts = lock(&of.renewal().attempts);
        if attempts.is_in_progress(now) || attempts.is_backing_off(now) {
            return None;
        }
        attempts.in_progress_until = Some(now.after(MAX_ATTEMPT));
        Some(Attempt(Arc::clone(of) as Arc<dyn Refreshable>))
    }

    /// Whether the last failure's backoff lasts.
    pub(crate) fn is_backing_off(&self, now: DualTime) -> bool {
        lock(&self.attempts).is_backing_off(now)
    }

    /// Records a failure. The backoff is 30 s, 1, 2, 4, then 5 minutes, each up to a fifth shorter by chance. Callers that
    /// shared an attempt all record its failure, which counts once.
    pub(crate) fn failed(&self, now: DualTime, error: Error, chance: f64) {
        let mut attempts = lock(&self.attempts);
        if attempts.is_backing_off(now) {
            return;
        }
        let doubled = FIRST_BACKOFF
            .saturating_mul(1 << attempts.failures.min(8))
            .min(MAX_BACKOFF);
        attempts.failures = attempts.failures.saturating_add(1);
        attempts.backoff_until = Some(now.after(doubled.mul_f64(1.0 - 0.2 * chance)));
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
    fn is_in_progress(&self, now: DualTime) -> bool {
        self.in_progress_until
            .is_some_and(|until| !until.has_passed(now))
    }

    fn is_backing_off(&self, now: DualTime) -> bool {
        // A wall clock that was put forward ends a backoff early, which does no harm.
        self.backoff_until
            .is_some_and(|until| !until.has_passed(now))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        lock(&self.0.renewal().attempts).in_progress_until = None;
    }
}

/// An attempt that is driven ends by its own timeout after half of that.
const MAX_ATTEMPT: Duration = Duration::from_secs(120);
const FIRST_BACKOFF: Duration = Duration::from_secs(30);
const MAX_BACKOFF: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;
    use tokio::time::Instant;

    #[derive(Default)]
    struct Thing(RefreshAttempts);

    impl Refreshable for Thing {
        fn renewal(&self) -> &RefreshAttempts {
            &self.0
        }
    }

    #[test]
    fn an_attempt_that_is_not_driven_does_not_stop_refreshes() {
        let thing = Arc::<Thing>::default();
        let now = DualTime {
            wall: SystemTime::UNIX_EPOCH,
            monotonic: Instant::now(),
        };
        let abandoned = RefreshAttempts::begin(&thing, now);
        assert!(abandoned.is_some());
        assert!(RefreshAttempts::begin(&thing, now.after(MAX_ATTEMPT / 2)).is_none());
        assert!(RefreshAttempts::begin(&thing, now.after(MAX_ATTEMPT)).is_some());
    }
}
