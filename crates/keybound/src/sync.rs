//! The locks of the single-flight core: the standard library's, or in tests with `--cfg shuttle` those of the
//! explorer of schedules.
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
