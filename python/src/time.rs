//! Times and durations of Python.
use crate::error::invalid_request;
use pyo3::prelude::*;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970; 0 for times before.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A timeout in seconds.
///
/// # Errors
/// `InvalidRequest` if it is negative or not a number.
pub(crate) fn timeout(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    // Not `min`, which would replace NaN.
    let seconds = if seconds > LONGEST { LONGEST } else { seconds };
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| invalid_request(py, "a timeout is a number of seconds that is not negative"))
}

/// A year, in seconds.
const LONGEST: f64 = 366.0 * 24.0 * 3600.0;
