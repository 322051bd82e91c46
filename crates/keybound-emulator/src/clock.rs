use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The emulator's clock: the host's, plus an offset, so that expiry can be seen without waiting for it.
#[derive(Debug, Default)]
pub struct Clock {
    offset_seconds: AtomicI64,
}

impl Clock {
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

    /// The emulated time in whole seconds since 1970, as tokens carry it.
    pub fn unix(&self) -> u64 {
        unix(self.now())
    }

    /// Moves the clock by seconds, backwards where negative. The offset stays within ±100 years.
    pub fn advance(&self, seconds: i64) {
        let moved = self.offset_seconds().saturating_add(seconds);
        self.offset_seconds
            .store(moved.clamp(-FARTHEST, FARTHEST), Ordering::Relaxed);
    }

    /// How far it is ahead of the host's clock, in seconds.
    pub fn offset_seconds(&self) -> i64 {
        self.offset_seconds.load(Ordering::Relaxed)
    }

    /// Back to the host's time.
    pub fn reset(&self) {
        self.offset_seconds.store(0, Ordering::Relaxed);
    }
}

/// The host's time: for what clients date by their own clock, which no offset here moves.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
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

const FARTHEST: i64 = 100 * 366 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_both_ways_and_back() {
        let clock = Clock::default();
        clock.advance(3600);
        assert!(clock.unix() >= unix(host_now()) + 3599);
        clock.advance(-7200);
        assert_eq!(clock.offset_seconds(), -3600);
        assert!(clock.unix() <= unix(host_now()) - 3599);
        clock.reset();
        assert_eq!(clock.offset_seconds(), 0);
    }

    #[test]
    fn it_cannot_be_moved_out_of_bounds() {
        let clock = Clock::default();
        clock.advance(i64::MAX);
        clock.advance(i64::MAX);
        assert_eq!(clock.offset_seconds(), FARTHEST);
        clock.advance(i64::MIN);
        assert_eq!(clock.offset_seconds(), -FARTHEST);
        assert!(clock.unix() > 0 || clock.now() < UNIX_EPOCH);
    }
}
