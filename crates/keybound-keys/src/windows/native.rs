//! Calls of Windows, behind the trait `WindowsApi`.
#![allow(unsafe_code, reason = "the functions of Windows are unsafe")]
mod account;
pub(crate) mod bcrypt;
mod context;
mod folder;
mod mutex;
mod native_api;
mod padding;
mod store;

pub(super) use context::CertificateContext;
pub use folder::{make_private_folder, open_private_file, open_service_file};
pub(super) use store::Store;

use super::status::Status;
use super::windows_api::WindowsApi;
use std::sync::Arc;

/// Windows itself.
pub(super) fn api() -> Arc<dyn WindowsApi> {
    Arc::new(native_api::NativeApi)
}

/// The status of a failed function; codes of `GetLastError` have been converted to an `HRESULT`.
fn status(error: &windows::core::Error) -> Status {
    Status(error.code().0.cast_unsigned())
}

/// The number of open handles, for tests. Each thread has a counter, so that parallel tests do not affect each other.
#[cfg(test)]
pub(super) mod counted {
    use std::cell::Cell;

    thread_local!(static OPEN: Cell<isize> = const { Cell::new(0) });

    pub(in super::super) fn add(change: isize) {
        OPEN.set(OPEN.get() + change);
    }

    pub(in super::super) fn open() -> isize {
        OPEN.get()
    }
}

#[cfg(not(test))]
mod counted {
    pub(super) fn add(_: isize) {}
}
