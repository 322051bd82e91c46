//! Windows itself. All `unsafe` calls of it are here and below.
#![allow(unsafe_code, reason = "the functions of Windows are unsafe")]
mod account;
pub(crate) mod bcrypt;
pub(super) mod certificate_store;
mod context;
mod folder;
mod mutex;
mod ncrypt;
mod padding;
pub mod store;

pub(super) use context::CertificateContext;
pub use folder::{make_private_folder, open_private_file};
pub(super) use store::Store;

use super::ncrypt_api::NcryptApi;
use super::status::Status;
use std::sync::Arc;

/// Windows' functions, as this process calls them.
pub(super) fn api() -> Arc<dyn NcryptApi> {
    Arc::new(ncrypt::Ncrypt)
}

/// What a function said; `GetLastError` is among it already, as an `HRESULT`.
fn status(error: &windows::core::Error) -> Status {
    Status(error.code().0.cast_unsigned())
}

/// Handles of one kind that are open, for tests: counted for each thread, so that tests at the same time do not see each
/// other's.
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
