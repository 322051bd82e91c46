//! Two clocks at once: the wall clock may jump, and the monotonic one may stop while the host sleeps. A time has passed when
//! either clock says so.
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DualTime {
    pub(crate) wall: SystemTime,
    pub(crate) monotonic: Instant,
}

impl DualTime {
    /// This much later. A clock that would overflow stays as it is: the other one counts then.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self {
            wall: self.wall.checked_add(time).unwrap_or(self.wall),
            monotonic: self.monotonic.checked_add(time).unwrap_or(self.monotonic),
        }
    }

    /// The earlier of two, on each clock.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            monotonic: self.monotonic.min(other.monotonic),
        }
    }

    /// The remaining time until then, by the clock that says less.
    pub(crate) fn remaining(self, now: Self) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        wall.min(self.monotonic.saturating_duration_since(now.monotonic))
    }

    /// Whether it has passed, by either clock.
    pub(crate) fn has_passed(self, now: Self) -> bool {
        self.wall <= now.wall || self.monotonic <= now.monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DualTime {
        DualTime {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            monotonic: Instant::now(),
        }
    }

    #[test]
    fn the_earlier_of_two_clocks_counts() {
        let start = now();
        let end = start.after(Duration::from_secs(100));
        assert_eq!(end.remaining(start), Duration::from_secs(100));
        // The wall clock was put back by an hour, fifty seconds went by.
        let back = DualTime {
            wall: start.wall - Duration::from_secs(3600),
            monotonic: start.monotonic + Duration::from_secs(50),
        };
        assert_eq!(end.remaining(back), Duration::from_secs(50));
        // It was put forward by an hour.
        let forward = DualTime {
            wall: start.wall + Duration::from_secs(3600),
            monotonic: start.monotonic,
        };
        assert!(end.has_passed(forward));
    }
}
