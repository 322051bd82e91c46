use crate::moment::Moment;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// The wall clock, as a value, so that tests hold it.
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
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Both clocks of a client.
#[derive(Debug)]
pub(crate) enum Clocks {
    /// The host's, which are also read quickly.
    Host(Quick),
    /// A wall clock that the caller holds.
    Given(Arc<dyn Clock>),
}

impl Clocks {
    pub(crate) fn new(given: Option<Arc<dyn Clock>>) -> Self {
        given.map_or_else(|| Self::Host(Quick::new()), Self::Given)
    }

    /// The moment, exactly.
    pub(crate) fn now(&self) -> Moment {
        Moment {
            wall: match self {
                Self::Host(_) => SystemClock.now(),
                Self::Given(clock) => clock.now(),
            },
            steady: Instant::now(),
        }
    }

    /// The moment within a tick of the system (10 ms at most): for what each cached answer pays for.
    pub(crate) fn glance(&self) -> Moment {
        match self {
            Self::Host(quick) => quick.read(),
            Self::Given(_) => self.now(),
        }
    }
}

/// Reads what the system notes at each tick, which takes a fifth of the time of asking the hardware.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Quick {
    begun: Instant,
    ticks_then: std::time::Duration,
}

#[cfg(target_os = "linux")]
impl Quick {
    fn new() -> Self {
        Self {
            // What is read later is within a tick of the steady clock, before or after it.
            ticks_then: since_zero(rustix::time::ClockId::MonotonicCoarse),
            begun: Instant::now(),
        }
    }

    fn read(&self) -> Moment {
        use rustix::time::ClockId;
        let ticks = since_zero(ClockId::MonotonicCoarse).saturating_sub(self.ticks_then);
        Moment {
            wall: SystemTime::UNIX_EPOCH + since_zero(ClockId::RealtimeCoarse),
            steady: self.begun + ticks,
        }
    }
}

/// A clock before its zero (the year 1970) reads as zero.
#[cfg(target_os = "linux")]
fn since_zero(clock: rustix::time::ClockId) -> std::time::Duration {
    rustix::time::clock_gettime(clock)
        .try_into()
        .unwrap_or_default()
}

/// Elsewhere there is nothing quicker.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Quick;

#[cfg(not(target_os = "linux"))]
impl Quick {
    fn new() -> Self {
        Self
    }

    fn read(&self) -> Moment {
        Moment {
            wall: SystemClock.now(),
            steady: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_glance_sees_what_the_clocks_say() {
        let clocks = Clocks::new(None);
        let before = clocks.now();
        let glance = clocks.glance();
        let after = clocks.now();
        // A tick, and what a machine that is short of time may add to it.
        let near = Duration::from_secs(1);
        assert!(glance.wall + near >= before.wall && glance.wall <= after.wall + near);
        assert!(glance.steady + near >= before.steady && glance.steady <= after.steady + near);
    }
}
