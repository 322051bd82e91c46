use super::Clock;
use std::time::Duration;

/// The clocks of the system, with a resolution of milliseconds.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The clocks of the system.
    pub fn new() -> Self {
        Self
    }
}

#[cfg(target_os = "linux")]
impl Clock for SystemClock {
    fn wall(&self) -> Duration {
        read(rustix::time::ClockId::RealtimeCoarse)
    }

    fn monotonic(&self) -> Duration {
        read(rustix::time::ClockId::MonotonicCoarse)
    }
}

/// The coarse clocks are read in a few nanoseconds.
#[cfg(target_os = "linux")]
fn read(clock: rustix::time::ClockId) -> Duration {
    // A clock before its zero is zero: every certificate is then not valid yet.
    rustix::time::clock_gettime(clock)
        .try_into()
        .unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that others get"
    )]
    fn wall(&self) -> Duration {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        // An instant has no absolute value; this is the first one that was read.
        static ZERO: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        ZERO.elapsed()
    }
}
