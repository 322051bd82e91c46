use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The clocks of a verifier, which tests replace.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: the time since the Unix epoch.
    fn wall(&self) -> Duration;

    /// The monotonic clock: the time since any fixed point.
    fn monotonic(&self) -> Duration;
}

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

/// The wall clock, except that it is not set back by more than [`MAX_STEP_BACK`]: an expired token must not become valid again. The time
/// then runs on by the monotonic clock, until the wall clock has reached it or the verifier is built again.
pub(crate) struct GuardedClock {
    clock: Arc<dyn Clock>,
    /// Wall clock minus monotonic clock, in seconds.
    offset: AtomicI64,
}

impl GuardedClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let (wall, monotonic) = (seconds(clock.wall()), seconds(clock.monotonic()));
        Self {
            clock,
            offset: AtomicI64::new(wall - monotonic),
        }
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        let (wall, monotonic) = (seconds(self.clock.wall()), seconds(self.clock.monotonic()));
        let offset = self.offset.load(Ordering::Relaxed);
        let ahead = (wall - monotonic) - offset;
        if ahead < -MAX_STEP_BACK {
            return monotonic + offset;
        }
        // Both clocks are rounded: one second is no change. Written rarely, as other threads read it.
        if ahead.abs() > 1 {
            self.offset.store(wall - monotonic, Ordering::Relaxed);
        }
        wall
    }
}

impl fmt::Debug for GuardedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedClock").finish_non_exhaustive()
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// In seconds: corrections of a time service are smaller.
const MAX_STEP_BACK: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[derive(Default)]
    struct TwoClocks {
        wall: AtomicU64,
        monotonic: AtomicU64,
    }

    impl Clock for TwoClocks {
        fn wall(&self) -> Duration {
            Duration::from_secs(self.wall.load(Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.monotonic.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn wall_clock_is_not_set_back() {
        let clock = Arc::new(TwoClocks::default());
        let set = |wall, monotonic| {
            clock.wall.store(wall, Ordering::Relaxed);
            clock.monotonic.store(monotonic, Ordering::Relaxed);
        };
        set(1_000_000, 10);
        let guarded = GuardedClock::new(Arc::clone(&clock) as _);
        for (wall, monotonic, expected) in [
            (1_000_000, 10, 1_000_000),
            (1_000_005, 15, 1_000_005),
            // Small corrections count, both ways.
            (999_975, 15, 999_975),
            (999_985, 15, 999_985),
            // An hour back: the time runs on.
            (996_400, 20, 999_990),
            (996_500, 120, 1_000_090),
            // Set forward, and back again.
            (2_000_000, 130, 2_000_000),
            (1_000_100, 140, 2_000_010),
            // The host slept: only the wall clock ran.
            (2_009_000, 150, 2_009_000),
        ] {
            set(wall, monotonic);
            assert_eq!(guarded.now(), expected, "{wall} {monotonic}");
        }
    }

    #[test]
    fn system_clock_runs() {
        let clock = SystemClock::new();
        assert!(clock.wall() > Duration::from_secs(1_700_000_000));
        let earlier = clock.monotonic();
        assert!(clock.monotonic() >= earlier);
    }
}
