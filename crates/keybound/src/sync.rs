//! The locks of the single-flight core: the standard library's, or in tests with the feature `shuttle` those of the
//! explorer of schedules.
#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(all(test, feature = "shuttle"))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
