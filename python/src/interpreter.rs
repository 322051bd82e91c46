//! The interpreter that the module belongs to: its exceptions and loggers are kept in statics.
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The address of the builtins of the interpreter that imported the module first.
static BUILTINS: AtomicUsize = AtomicUsize::new(NONE);

/// Admits one interpreter of the process.
///
/// # Errors
/// `ImportError` for any other one.
pub(crate) fn admit(py: Python<'_>) -> PyResult<()> {
    let builtins = py.import("builtins")?.as_ptr() as usize;
    match BUILTINS.compare_exchange(NONE, builtins, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(known) if known == builtins => Ok(()),
        Err(_) => Err(PyImportError::new_err(
            "keybound can be imported by one interpreter of a process only",
        )),
    }
}

/// Admits none from now on: the interpreter ends.
pub(crate) fn end() {
    BUILTINS.store(ENDED, Ordering::Relaxed);
}

const NONE: usize = 0;
const ENDED: usize = usize::MAX;
