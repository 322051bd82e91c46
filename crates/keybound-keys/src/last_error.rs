use crate::KeyError;
use keybound_core::lock;
use std::sync::Mutex;

/// The last error of a signing key, which the errors of a TLS library cannot contain.
#[derive(Debug, Default)]
pub struct LastKeyError(Mutex<Option<KeyError>>);

impl LastKeyError {
    /// Stores an error and drops an earlier one.
    pub fn set(&self, error: KeyError) {
        *lock(&self.0) = Some(error);
    }

    /// Removes and returns the error.
    pub fn take(&self) -> Option<KeyError> {
        lock(&self.0).take()
    }
}
