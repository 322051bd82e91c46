//! The locks and tasks of the single flight: those of std and tokio, or in tests with `--cfg shuttle` those of the schedule
//! explorer.
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(all(test, shuttle)))]
pub(crate) use tokio::task::{AbortHandle, JoinError, spawn};

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::future::{AbortHandle, JoinError, spawn};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// Whether a task panicked.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn is_panic(error: &JoinError) -> bool {
    error.is_panic()
}

/// A panic ends a schedule of the explorer.
#[cfg(all(test, shuttle))]
pub(crate) fn is_panic(_: &JoinError) -> bool {
    false
}
