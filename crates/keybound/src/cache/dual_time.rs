//! Times on two clocks: the wall clock may jump, and the monotonic clock may stop while the host sleeps. A time has passed when it
//! has passed on either clock.
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DualTime {
    pub(crate) wall: SystemTime,
    pub(crate) monotonic: Instant,
}

impl DualTime {
    /// This time plus a duration. A clock that would overflow is unchanged: the other one then counts.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self {
            wall: self.wall.checked_add(time).unwrap_or(self.wall),
            monotonic: self.monotonic.checked_add(time).unwrap_or(self.monotonic),
        }
    }

    /// The earlier of two times, on each clock.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            monotonic: self.monotonic.min(other.monotonic),
        }
    }

    /// The remaining time, on the clock that has less.
    pub(crate) fn remaining(self, now: Self) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        wall.min(self.monotonic.saturating_duration_since(now.monotonic))
    }

    /// Whether it has passed on either clock.
    #[inline]
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
    fn earlier_of_both_clocks_counts() {
        let start = now();
        let end = start.after(Duration::from_secs(100));
        assert_eq!(end.remaining(start), Duration::from_secs(100));
        // The wall clock was set back by an hour, and fifty seconds passed.
        let back = DualTime {
            wall: start.wall - Duration::from_secs(3600),
            monotonic: start.monotonic + Duration::from_secs(50),
        };
        assert_eq!(end.remaining(back), Duration::from_secs(50));
        // The wall clock was set forward by an hour.
        let forward = DualTime {
            wall: start.wall + Duration::from_secs(3600),
            monotonic: start.monotonic,
        };
        assert!(end.has_passed(forward));
    }
}
