use super::DualTime;
use keybound_core::{Error, lock};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The attempts to refresh one token or certificate: one at a time, with a backoff after a failure.
#[derive(Default)]
#[repr(C)]
pub(crate) struct RefreshAttempts {
    /// Whether the last attempt failed. Read by every cache hit, without a lock.
    has_failed: AtomicBool,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    /// The time until which an attempt in progress counts: it does not end on a runtime that is no longer driven.
    in_progress_until: Option<DualTime>,
    failures: u32,
    backoff_until: Option<DualTime>,
    last_failure: Option<Error>,
}

/// An attempt in progress, until it is dropped.
pub(crate) struct Attempt(Arc<dyn Refreshable>);

/// A token or certificate that is refreshed.
pub(crate) trait Refreshable: Send + Sync {
    /// Its refresh attempts.
    fn renewal(&self) -> &RefreshAttempts;
}

impl RefreshAttempts {
    /// Starts an attempt, unless one is in progress or the backoff after a failure has not elapsed.
    pub(crate) fn begin<T: Refreshable + 'static>(of: &Arc<T>, now: DualTime) -> Option<Attempt> {
        let mut attempts = lock(&of.renewal().attempts);
        if attempts.is_in_progress(now) || attempts.is_backing_off(now) {
            return None;
        }
        attempts.in_progress_until = Some(now.after(MAX_ATTEMPT));
        Some(Attempt(Arc::clone(of) as Arc<dyn Refreshable>))
    }

    /// Whether the backoff after the last failure has not elapsed.
    pub(crate) fn is_backing_off(&self, now: DualTime) -> bool {
        lock(&self.attempts).is_backing_off(now)
    }

    /// Records a failure. The backoff is 30 s, 1, 2, 4, then 5 minutes, each up to a fifth shorter by `chance` (0 to 1). Callers
    /// that shared an attempt all record its failure, which counts once.
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
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// The error of the last attempt, if it failed.
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
        // A wall clock that was set forward ends a backoff early, which does no harm.
        self.backoff_until
            .is_some_and(|until| !until.has_passed(now))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        lock(&self.0.renewal().attempts).in_progress_until = None;
    }
}

/// Twice the timeout of an attempt that is driven.
const MAX_ATTEMPT: Duration = Duration::from_secs(120);
const FIRST_BACKOFF: Duration = Duration::from_secs(30);
const MAX_BACKOFF: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;
    use tokio::time::Instant;

    #[derive(Default)]
    struct Value(RefreshAttempts);

    impl Refreshable for Value {
        fn renewal(&self) -> &RefreshAttempts {
            &self.0
        }
    }

    #[test]
    fn attempt_that_is_not_driven_expires() {
        let value = Arc::<Value>::default();
        let now = DualTime {
            wall: SystemTime::UNIX_EPOCH,
            monotonic: Instant::now(),
        };
        let abandoned = RefreshAttempts::begin(&value, now);
        assert!(abandoned.is_some());
        assert!(RefreshAttempts::begin(&value, now.after(MAX_ATTEMPT / 2)).is_none());
        assert!(RefreshAttempts::begin(&value, now.after(MAX_ATTEMPT)).is_some());
    }
}
