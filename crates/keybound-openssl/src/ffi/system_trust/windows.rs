//! The trust anchors of Windows.
use crate::ffi::{LibraryContext, native};
use foreign_types::ForeignType as _;
use openssl::error::ErrorStack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use std::ptr::null;

/// The system's stores, which OpenSSL searches on demand.
#[derive(PartialEq, Eq)]
pub(super) struct HostAnchors;

impl HostAnchors {
    pub(super) fn find() -> Self {
        Self
    }

    /// A store that searches them.
    pub(super) fn store(&self, library: &LibraryContext, _: bool) -> Result<X509Store, ErrorStack> {
        let store = X509StoreBuilder::new()?.build();
        let uri = c"org.openssl.winstore://";
        let (pointer, context) = (store.as_ptr(), library.context());
        // SAFETY: the store is alive, the string is a constant.
        let loaded =
            unsafe { native::X509_STORE_load_store_ex(pointer, uri.as_ptr(), context, null()) };
        if loaded != 1 {
            tracing::debug!(errors = %ErrorStack::get(), "the system's trust anchors cannot be read");
        }
        Ok(store)
    }
}
