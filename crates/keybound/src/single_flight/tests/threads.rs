//! Real threads: whatever schedules the machine comes up with.
pub(super) use std::thread::{spawn, yield_now as pause};
pub(super) use tokio::task::yield_now;

/// Runs a scenario again and again.
pub(super) fn check(scenario: fn()) {
    for seed in 0..RUNS {
        fastrand::seed(seed);
        scenario();
    }
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// A number below `end`.
pub(super) fn chance(end: usize) -> usize {
    fastrand::usize(..end)
}

const RUNS: u64 = 100;
