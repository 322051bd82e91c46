use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// An open `NCRYPT_KEY_HANDLE` of a key in Windows CNG, borrowed by native code (the attestation library).
///
/// The key stays open while this value or a clone of it lives, so that it can move to a thread that outlives its caller. The
/// borrower must not free or delete it.
#[derive(Clone)]
pub struct CngHandle {
    raw: usize,
    _owner: Arc<dyn Any + Send + Sync>,
}

impl CngHandle {
    /// Borrows a handle from its owner.
    ///
    /// # Safety
    /// `raw` is an open `NCRYPT_KEY_HANDLE` that can be used from every thread and stays open while `owner` lives.
    #[allow(
        unsafe_code,
        reason = "the caller promises that the number is an open handle"
    )]
    pub unsafe fn new(raw: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { raw, _owner: owner }
    }

    /// The value of the handle, never 0. It is valid only in this process, while this value lives.
    pub fn raw(&self) -> usize {
        self.raw
    }
}

impl fmt::Debug for CngHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CngHandle").finish_non_exhaustive()
    }
}
