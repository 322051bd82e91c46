use crate::KeyError;
use keybound_core::lock;
use std::sync::Mutex;

/// The last error of a key that did not sign. The errors of a TLS library cannot carry it.
#[derive(Debug, Default)]
pub struct LastKeyError(Mutex<Option<KeyError>>);

impl LastKeyError {
    /// Stores an error in place of an earlier one.
    pub fn set(&self, error: KeyError) {
        *lock(&self.0) = Some(error);
    }

    /// Removes and returns the error.
    pub fn take(&self) -> Option<KeyError> {
        lock(&self.0).take()
    }
}
