use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The emulator's clock: the host's clock plus an offset, with which tests reach an expiry without waiting.
///
/// Clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_seconds: Arc<AtomicI64>,
    /// The offset at the start.
    initial: i64,
}

impl Clock {
    /// A clock with this offset, within [`MAX_OFFSET_SECONDS`].
    pub(crate) fn with_offset(seconds: i64) -> Self {
        Self {
            offset_seconds: Arc::new(AtomicI64::new(seconds)),
            initial: seconds,
        }
    }

    /// The emulated time.
    pub fn now(&self) -> SystemTime {
        let offset = self.offset_seconds();
        let step = Duration::from_secs(offset.unsigned_abs());
        let host = host_now();
        let moved = if offset < 0 {
            host.checked_sub(step)
        } else {
            host.checked_add(step)
        };
        moved.unwrap_or(host)
    }

    /// The emulated time in whole seconds since 1970, as in tokens.
    pub fn unix(&self) -> u64 {
        unix(self.now())
    }

    /// Advances the clock by seconds, backwards if negative. The offset is limited to ±100 years.
    pub fn advance(&self, seconds: i64) {
        let moved = self.offset_seconds().saturating_add(seconds);
        self.offset_seconds.store(
            moved.clamp(-MAX_OFFSET_SECONDS, MAX_OFFSET_SECONDS),
            Ordering::Relaxed,
        );
    }

    /// The offset from the host's clock, in seconds.
    pub fn offset_seconds(&self) -> i64 {
        self.offset_seconds.load(Ordering::Relaxed)
    }

    /// Returns to the offset of the configuration, by default none.
    pub fn reset(&self) {
        self.offset_seconds.store(self.initial, Ordering::Relaxed);
    }
}

/// The time of the host's clock, for values that clients check with their own clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the only function that reads the clock"
)]
pub(crate) fn host_now() -> SystemTime {
    SystemTime::now()
}

/// Whole seconds since 1970; 0 for times before.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Milliseconds since 1970; 0 for times before.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}

/// 100 years.
pub(crate) const MAX_OFFSET_SECONDS: i64 = 100 * 366 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_in_both_directions_and_resets() {
        let clock = Clock::default();
        clock.advance(3600);
        assert!(clock.unix() >= unix(host_now()) + 3599);
        clock.advance(-7200);
        assert_eq!(clock.offset_seconds(), -3600);
        assert!(clock.unix() <= unix(host_now()) - 3599);
        clock.reset();
        assert_eq!(clock.offset_seconds(), 0);
        let clock = Clock::with_offset(60);
        clock.advance(1);
        assert_eq!(clock.offset_seconds(), 61);
        clock.reset();
        assert_eq!(clock.offset_seconds(), 60);
    }

    #[test]
    fn limits_the_offset() {
        let clock = Clock::default();
        clock.advance(i64::MAX);
        clock.advance(i64::MAX);
        assert_eq!(clock.offset_seconds(), MAX_OFFSET_SECONDS);
        clock.advance(i64::MIN);
        assert_eq!(clock.offset_seconds(), -MAX_OFFSET_SECONDS);
        assert_eq!(clock.unix(), 0, "before 1970");
    }
}
