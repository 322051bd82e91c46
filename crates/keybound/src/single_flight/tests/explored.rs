//! Threads and tasks that shuttle schedules: randomly, and by priorities that change at a few points (PCT).
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

pub(super) use shuttle::future::{block_on, yield_now};
pub(super) use shuttle::thread::{spawn, yield_now as pause};

/// Explores schedules of a scenario. A failure prints its schedule for `shuttle::replay`.
pub(super) fn check(scenario: fn()) {
    // The single flight needs a current runtime; its tasks are shuttle's.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    let _entered = runtime.enter();
    let random = RandomScheduler::new_from_seed(SEED, SCHEDULES);
    assert_eq!(Runner::new(random, Config::new()).run(scenario), SCHEDULES);
    for changes in 1..=DEPTH {
        let by_priority = PctScheduler::new_from_seed(SEED, changes, SCHEDULES);
        assert_eq!(
            Runner::new(by_priority, Config::new()).run(scenario),
            SCHEDULES
        );
    }
}

/// A random number below `end`.
pub(super) fn chance(end: usize) -> usize {
    thread_rng().gen_range(0..end)
}

const SEED: u64 = 3;
const SCHEDULES: usize = 1000;
const DEPTH: usize = 3;
