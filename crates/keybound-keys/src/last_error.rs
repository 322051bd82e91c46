use crate::KeyError;
use std::sync::{Mutex, PoisonError};

/// The last error of a key that did not sign. The errors of a TLS library cannot carry it.
#[derive(Debug, Default)]
pub struct LastKeyError(Mutex<Option<KeyError>>);

impl LastKeyError {
    /// Stores an error in place of an earlier one.
    pub fn set(&self, error: KeyError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Removes and returns the error.
    pub fn take(&self) -> Option<KeyError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
