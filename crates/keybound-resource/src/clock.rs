mod logged_step;
mod shared_clock;
mod system_clock;

use logged_step::LoggedStep;
pub use shared_clock::SharedClock;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
pub use system_clock::SystemClock;

/// The clocks of a verifier, which tests replace.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: the time since the Unix epoch.
    fn wall(&self) -> Duration;

    /// The monotonic clock: the time since any fixed point.
    fn monotonic(&self) -> Duration;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn wall(&self) -> Duration {
        (**self).wall()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
}

/// The wall clock, except that it is not set back by more than [`MAX_STEP_BACK`] in all: an expired token must not become valid again.
/// The time then runs on by the monotonic clock, until the wall clock has reached it.
///
/// A wall clock that was set forward may be set back to where it was: a wrong time does not remain in use. After [`PROBATION`] it
/// may no more.
pub(crate) struct GuardedClock {
    clock: Arc<dyn Clock>,
    /// Wall clock minus monotonic clock, in seconds, below which the time is not set back.
    floor: AtomicI64,
    /// When the wall clock was set forward, by the monotonic clock; [`NEVER`] if it is near the floor.
    set_forward_at: AtomicI64,
    logged: LoggedStep,
}

/// The time by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DualTime {
    /// Seconds since the Unix epoch.
    pub(crate) wall: i64,
    /// Seconds since any fixed point.
    pub(crate) monotonic: i64,
}

impl GuardedClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let (wall, monotonic) = (seconds(clock.wall()), seconds(clock.monotonic()));
        Self {
            clock,
            floor: AtomicI64::new(wall - monotonic),
            set_forward_at: AtomicI64::new(NEVER),
            logged: LoggedStep::default(),
        }
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        self.read().wall
    }

    /// The time by both clocks.
    pub(crate) fn read(&self) -> DualTime {
        let (wall, monotonic) = (seconds(self.clock.wall()), seconds(self.clock.monotonic()));
        let floor = self.floor.load(Ordering::Relaxed);
        let ahead = (wall - monotonic) - floor;
        self.logged.log(ahead);
        if ahead < -MAX_STEP_BACK {
            return DualTime {
                wall: monotonic + floor,
                monotonic,
            };
        }
        self.watch_set_forward(floor, ahead, monotonic);
        DualTime { wall, monotonic }
    }

    /// How far the wall clock was set, in seconds; the clocks are read one after the other.
    pub(crate) fn step(&self) -> i64 {
        let (wall, monotonic) = (seconds(self.clock.wall()), seconds(self.clock.monotonic()));
        (wall - monotonic) - self.floor.load(Ordering::Relaxed)
    }

    /// What other threads read is written rarely.
    fn watch_set_forward(&self, floor: i64, ahead: i64, monotonic: i64) {
        let since = self.set_forward_at.load(Ordering::Relaxed);
        if ahead <= MAX_STEP_BACK {
            if since != NEVER {
                self.set_forward_at.store(NEVER, Ordering::Relaxed);
            }
        } else if since == NEVER {
            self.set_forward_at.store(monotonic, Ordering::Relaxed);
        } else if monotonic - since >= PROBATION {
            // Of several threads that read the same floor, one raises it.
            let raised = self.floor.compare_exchange(
                floor,
                floor + ahead,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if raised.is_ok() {
                self.set_forward_at.store(NEVER, Ordering::Relaxed);
            }
        }
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

/// How long the wall clock may be set back to where it was before it was set forward, in seconds.
const PROBATION: i64 = 24 * 3600;
const NEVER: i64 = i64::MIN;
/// In seconds: corrections of a time service are smaller.
pub(crate) const MAX_STEP_BACK: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
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
            // In all, by no more than a minute.
            (999_950, 17, 999_950),
            (999_940, 18, 1_000_008),
            // An hour back: the time runs on.
            (996_400, 20, 1_000_010),
            (996_500, 120, 1_000_110),
            // Set forward, and back to where it was, but not further.
            (2_000_000, 130, 2_000_000),
            (1_000_130, 140, 1_000_130),
            (1_000_030, 150, 1_000_140),
            // The host slept: only the wall clock ran.
            (1_009_000, 160, 1_009_000),
            (1_095_399, 86_559, 1_095_399),
            // After a day it is not set back to the time before.
            (1_095_400, 86_560, 1_095_400),
            (1_086_561, 86_561, 1_095_401),
        ] {
            set(wall, monotonic);
            assert_eq!(guarded.now(), expected, "{wall} {monotonic}");
        }
    }

    #[test]
    fn step_is_how_far_the_wall_clock_was_set() {
        let clock = Arc::new(TwoClocks::default());
        clock.wall.store(1_000_000, Ordering::Relaxed);
        let guarded = GuardedClock::new(Arc::clone(&clock) as _);
        for (wall, monotonic, expected) in [
            (1_000_000, 0, 0),
            (1_000_100, 100, 0),
            (996_500, 100, -3600),
            (2_000_100, 100, 1_000_000),
        ] {
            clock.wall.store(wall, Ordering::Relaxed);
            clock.monotonic.store(monotonic, Ordering::Relaxed);
            assert_eq!(guarded.step(), expected, "{wall} {monotonic}");
        }
    }

    #[test]
    fn system_clock_runs() {
        let clock = SystemClock::new();
        assert!(clock.wall() > Duration::from_secs(1_700_000_000));
        let earlier = clock.monotonic();
        assert!(clock.monotonic() >= earlier);
    }

    /// A day after the step, requests on all threads see that it is over.
    #[test]
    fn clock_that_was_set_forward_is_followed_by_all_threads() {
        for _ in 0..500 {
            let clock = Arc::new(TwoClocks::default());
            clock.wall.store(1_000_000, Ordering::Relaxed);
            let guarded = GuardedClock::new(Arc::clone(&clock) as _);
            clock.wall.store(2_000_000, Ordering::Relaxed);
            assert_eq!(guarded.now(), 2_000_000);
            let day = PROBATION.unsigned_abs();
            clock.wall.store(2_000_000 + day, Ordering::Relaxed);
            clock.monotonic.store(day, Ordering::Relaxed);
            let barrier = Barrier::new(4);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        barrier.wait();
                        guarded.now()
                    });
                }
            });
            assert_eq!(guarded.now(), 2_000_000 + PROBATION);
        }
    }
}
