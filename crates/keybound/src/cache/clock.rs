use super::DualTime;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// The wall clock, as a value, so that tests control it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to hold")]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the wall clock"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Both clocks of a client.
#[derive(Clone, Debug)]
pub(crate) enum Clocks {
    /// The host's clocks.
    Host(CoarseClock),
    /// The caller's wall clock.
    Given(Arc<dyn Clock>),
}

impl Clocks {
    pub(crate) fn new(given: Option<Arc<dyn Clock>>) -> Self {
        given.map_or_else(|| Self::Host(CoarseClock::new()), Self::Given)
    }

    /// The exact time.
    pub(crate) fn now(&self) -> DualTime {
        DualTime {
            wall: match self {
                Self::Host(_) => SystemClock.now(),
                Self::Given(clock) => clock.now(),
            },
            monotonic: Instant::now(),
        }
    }

    /// The time to within a tick of the system (at most 10 ms), for cache hits.
    pub(crate) fn coarse_now(&self) -> DualTime {
        match self {
            Self::Host(coarse) => coarse.read(),
            Self::Given(_) => self.now(),
        }
    }
}

/// The kernel's coarse clocks, updated at each tick; reading them takes a fifth of the time.
#[cfg(target_os = "linux")]
#[derive(Clone, Debug)]
pub(crate) struct CoarseClock {
    start: Instant,
    ticks_at_start: std::time::Duration,
}

#[cfg(target_os = "linux")]
impl CoarseClock {
    fn new() -> Self {
        Self {
            // Read before `start`, so that later readings are within a tick of the monotonic clock.
            ticks_at_start: since_zero(rustix::time::ClockId::MonotonicCoarse),
            start: Instant::now(),
        }
    }

    fn read(&self) -> DualTime {
        use rustix::time::ClockId;
        let ticks = since_zero(ClockId::MonotonicCoarse).saturating_sub(self.ticks_at_start);
        DualTime {
            wall: SystemTime::UNIX_EPOCH + since_zero(ClockId::RealtimeCoarse),
            monotonic: self.start + ticks,
        }
    }
}

/// The time since the clock's zero, such as 1970; zero if it is before that.
#[cfg(target_os = "linux")]
fn since_zero(clock: rustix::time::ClockId) -> std::time::Duration {
    rustix::time::clock_gettime(clock)
        .try_into()
        .unwrap_or_default()
}

/// Other systems have no coarse clocks.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Debug)]
pub(crate) struct CoarseClock;

#[cfg(not(target_os = "linux"))]
impl CoarseClock {
    fn new() -> Self {
        Self
    }

    fn read(&self) -> DualTime {
        DualTime {
            wall: SystemClock.now(),
            monotonic: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TICK: Duration = Duration::from_millis(10);

    #[test]
    fn coarse_clocks_are_within_a_tick_of_exact_clocks() {
        let clocks = Clocks::new(None);
        let start = clocks.now();
        // A clock that stands still, or runs at another rate, would be within a tick at the start.
        while clocks.now().monotonic < start.monotonic + 5 * TICK {
            std::thread::yield_now();
        }
        // The ticks of a busy virtual machine may be late.
        assert!((0..1_000_000).any(|_| is_within_a_tick(&clocks)));
    }

    fn is_within_a_tick(clocks: &Clocks) -> bool {
        let before = clocks.now();
        let coarse = clocks.coarse_now();
        let after = clocks.now();
        (before.wall - TICK..=after.wall + TICK).contains(&coarse.wall)
            && (before.monotonic - TICK..=after.monotonic + TICK).contains(&coarse.monotonic)
    }
}
