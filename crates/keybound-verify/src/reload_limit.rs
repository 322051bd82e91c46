use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The reloads that operators request: one at a time, with a pause after each.
#[derive(Default)]
pub(crate) struct ReloadLimit(Mutex<Last>);

#[derive(Clone, Copy, Default)]
enum Last {
    #[default]
    None,
    Running,
    Ended(Instant),
}

/// A reload. It ends with this value.
pub(crate) struct Permit<'a>(&'a ReloadLimit);

impl ReloadLimit {
    /// Begins a reload.
    ///
    /// # Errors
    /// After how many seconds it may be requested again.
    pub(crate) fn begin(&self, now: Instant) -> Result<Permit<'_>, u64> {
        let mut last = self.last();
        let wait = match *last {
            Last::None => Duration::ZERO,
            Last::Running => PAUSE,
            Last::Ended(at) => PAUSE.saturating_sub(now.saturating_duration_since(at)),
        };
        if !wait.is_zero() {
            // Rounded up.
            return Err((wait + Duration::from_secs(1) - Duration::from_nanos(1)).as_secs());
        }
        *last = Last::Running;
        Ok(Permit(self))
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.last() = Last::Ended(Instant::now());
    }
}

const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reload_at_a_time_with_a_pause_after_each() {
        let limit = ReloadLimit::default();
        let start = Instant::now();
        let running = limit.begin(start).ok().unwrap();
        let later = start + Duration::from_secs(60);
        assert_eq!(limit.begin(later).err(), Some(5), "one is running");
        drop(running);
        let Last::Ended(ended) = *limit.last() else {
            panic!("it ended");
        };
        let after = |millis| ended + Duration::from_millis(millis);
        assert_eq!(limit.begin(after(0)).err(), Some(5));
        assert_eq!(limit.begin(after(3999)).err(), Some(2));
        assert_eq!(limit.begin(after(4999)).err(), Some(1));
        assert!(limit.begin(after(5000)).is_ok());
    }
}
