use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// An open `NCRYPT_KEY_HANDLE` of a key in Windows CNG, lent to native code that takes one (the attestation library).
///
/// The key stays open as long as this value or a clone of it lives, so that it may go to a thread which outlives the
/// one who asked. The borrower neither frees nor deletes it.
#[derive(Clone)]
pub struct CngHandle {
    raw: usize,
    _keeps_open: Arc<dyn Any + Send + Sync>,
}

impl CngHandle {
    /// Lends a handle.
    ///
    /// # Safety
    /// `raw` is an open `NCRYPT_KEY_HANDLE` that may be used from every thread and stays open as long as `owner` lives.
    #[allow(unsafe_code, reason = "what makes a number a handle is a promise")]
    pub unsafe fn new(raw: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            raw,
            _keeps_open: owner,
        }
    }

    /// The value of the handle, never 0. It means something in this process only, while this value lives.
    pub fn raw(&self) -> usize {
        self.raw
    }
}

impl fmt::Debug for CngHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CngHandle").finish_non_exhaustive()
    }
}
