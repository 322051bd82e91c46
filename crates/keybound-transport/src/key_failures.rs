use keybound_keys::KeyError;
use std::sync::{Mutex, PoisonError};

/// The last thing that a key said when it did not sign, as the errors of a TLS library have no place for it.
#[derive(Debug, Default)]
pub(crate) struct KeyFailures(Mutex<Option<KeyError>>);

impl KeyFailures {
    #[cfg(any(not(windows), feature = "openssl-engine"))]
    pub(crate) fn put(&self, error: KeyError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(crate) fn take(&self) -> Option<KeyError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
