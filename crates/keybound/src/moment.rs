//! Two clocks at once: the wall clock may jump, the steady one may rest. Whatever either says has ended, has ended.
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) wall: SystemTime,
    pub(crate) steady: Instant,
}

impl Moment {
    /// The moment this much later. Where a clock cannot say, it is as late as it can: ends are taken from the other.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self {
            wall: self.wall.checked_add(time).unwrap_or(self.wall),
            steady: self.steady.checked_add(time).unwrap_or(self.steady),
        }
    }

    /// The sooner of two, on each clock.
    pub(crate) fn or_sooner(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            steady: self.steady.min(other.steady),
        }
    }

    /// How much is left until then, by the clock that says less.
    pub(crate) fn left(self, now: Self) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        wall.min(self.steady.saturating_duration_since(now.steady))
    }

    /// Whether it has come, by either clock.
    pub(crate) fn has_come(self, now: Self) -> bool {
        self.wall <= now.wall || self.steady <= now.steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Moment {
        Moment {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            steady: Instant::now(),
        }
    }

    #[test]
    fn the_clock_that_says_less_counts() {
        let start = now();
        let end = start.after(Duration::from_secs(100));
        assert_eq!(end.left(start), Duration::from_secs(100));
        // The wall clock was put back by an hour, fifty seconds went by.
        let back = Moment {
            wall: start.wall - Duration::from_secs(3600),
            steady: start.steady + Duration::from_secs(50),
        };
        assert_eq!(end.left(back), Duration::from_secs(50));
        // It was put forward by an hour.
        let forward = Moment {
            wall: start.wall + Duration::from_secs(3600),
            steady: start.steady,
        };
        assert!(end.has_come(forward));
    }
}
