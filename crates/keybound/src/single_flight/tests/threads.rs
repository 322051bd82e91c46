//! Threads of the system, and tasks on one runtime.
use std::sync::LazyLock;
use std::thread::JoinHandle;
pub(super) use std::thread::yield_now as pause;
use tokio::runtime::{Builder, Runtime};
pub(super) use tokio::task::yield_now;

/// Runs a scenario repeatedly.
pub(super) fn check(scenario: fn()) {
    let _entered = RUNTIME.enter();
    for seed in 0..RUNS {
        fastrand::seed(seed);
        scenario();
    }
}

pub(super) fn spawn<T: Send + 'static>(
    caller: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(|| {
        let _entered = RUNTIME.enter();
        caller()
    })
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

/// A random number below `end`.
pub(super) fn chance(end: usize) -> usize {
    fastrand::usize(..end)
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().unwrap()
});
const RUNS: u64 = 100;
