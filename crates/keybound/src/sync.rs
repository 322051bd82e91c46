//! The locks and tasks of the single flight: those of std and tokio, or in tests with `--cfg shuttle` those of the schedule
//! explorer.
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(all(test, shuttle)))]
pub(crate) use tokio::task::{AbortHandle, spawn};

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::future::{AbortHandle, spawn};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
