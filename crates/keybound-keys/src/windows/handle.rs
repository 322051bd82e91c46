//! Handles of CNG, each owned by one value and freed once.
#![allow(unsafe_code, reason = "owning a handle is the promise that it is open")]
use super::ncrypt_api::{NcryptApi, Property, SILENT};
use super::status::Status;
use crate::SignatureScheme;
use keybound_core::lock;
use std::sync::{Arc, Mutex};

/// An open key storage provider.
#[derive(Debug)]
pub(crate) struct Provider {
    raw: usize,
    api: Arc<dyn NcryptApi>,
}

impl Provider {
    pub(crate) fn open(api: &Arc<dyn NcryptApi>, name: &str) -> Result<Arc<Self>, Status> {
        Ok(Arc::new(Self {
            raw: api.open_provider(name)?,
            api: Arc::clone(api),
        }))
    }

    pub(crate) fn open_key(self: &Arc<Self>, name: &str, flags: u32) -> Result<Key, Status> {
        // SAFETY: `self.raw` is this api's and open until `self` is dropped.
        let raw = unsafe { self.api.open_key(self.raw, name, flags | SILENT) }?;
        Ok(self.key(raw))
    }

    /// A key that is not there before it is [finalized](Key::finalize).
    pub(crate) fn create_key(self: &Arc<Self>, name: &str, flags: u32) -> Result<Key, Status> {
        // SAFETY: as in `open_key`.
        let raw = unsafe { self.api.create_key(self.raw, name, flags) }?;
        Ok(self.key(raw))
    }

    fn key(self: &Arc<Self>, raw: usize) -> Key {
        Key {
            raw,
            turn: Mutex::new(()),
            provider: Arc::clone(self),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // SAFETY: it is this api's, open, and nobody has it any more: a key has a part in it, but for one that was given away
        // (`Key::into_raw`), as .NET gives keys to certificates whose providers it frees.
        unsafe { self.api.free(self.raw) };
    }
}

/// An open key.
#[derive(Debug)]
pub(crate) struct Key {
    /// [`NONE`] once somebody else frees it, or nobody has to.
    raw: usize,
    /// CNG is bound to no thread, and does not promise that two may sign with one handle at once:
    /// <https://learn.microsoft.com/windows/win32/seccng/cng-features>, "Thread safety".
    turn: Mutex<()>,
    /// Not freed before the key is.
    provider: Arc<Provider>,
}

impl Key {
    pub(crate) fn set(&self, property: Property, value: u32) -> Result<(), Status> {
        // SAFETY: `self.raw` is this api's and open until `self` is dropped.
        unsafe { self.api().set_property(self.raw, property, value) }
    }

    /// The bytes of a property, 64 at most.
    pub(crate) fn get(&self, property: Property) -> Result<Vec<u8>, Status> {
        // SAFETY: as in `set`.
        bounded(LONGEST_PROPERTY, |into| unsafe {
            self.api().property(self.raw, property, into)
        })
    }

    pub(crate) fn finalize(&self) -> Result<(), Status> {
        // SAFETY: as in `set`.
        unsafe { self.api().finalize(self.raw) }
    }

    /// The public key as a `BCRYPT_RSAKEY_BLOB`.
    pub(crate) fn export_public(&self) -> Result<Vec<u8>, Status> {
        // SAFETY: as in `set`.
        bounded(LONGEST_BLOB, |into| unsafe {
            self.api().export_public(self.raw, into)
        })
    }

    pub(crate) fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, Status> {
        let _turn = lock(&self.turn);
        // SAFETY: as in `set`.
        bounded(LONGEST_SIGNATURE, |into| unsafe {
            self.api().sign(self.raw, scheme, digest, into)
        })
    }

    /// Deletes the key from its provider.
    pub(crate) fn delete(mut self) -> Result<(), Status> {
        // SAFETY: as in `set`. Where it succeeds, the handle went with the key, and is not used again.
        unsafe { self.api().delete(self.raw) }?;
        self.raw = NONE;
        Ok(())
    }

    /// The API that it was opened by.
    pub(crate) fn api(&self) -> &Arc<dyn NcryptApi> {
        &self.provider.api
    }

    /// The number, for those who keep `self` alive.
    pub(crate) fn raw(&self) -> usize {
        self.raw
    }

    /// The number, which the caller frees from here on: after the provider, of which the caller knows nothing. .NET hands keys
    /// to certificates in the same way.
    #[cfg(windows)]
    pub(crate) fn into_raw(mut self) -> usize {
        std::mem::replace(&mut self.raw, NONE)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if self.raw != NONE {
            // SAFETY: it is this api's, open, and nobody has it any more.
            unsafe { self.api().free(self.raw) };
        }
    }
}

/// What a function writes into a buffer of a fixed length: never more, whatever it says.
fn bounded(
    longest: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, Status>,
) -> Result<Vec<u8>, Status> {
    let mut buffer = vec![0; longest];
    let written = write(&mut buffer)?;
    buffer.truncate(written);
    Ok(buffer)
}

/// No handle has this value.
const NONE: usize = 0;
const LONGEST_PROPERTY: usize = 64;
/// Enough for RSA-16384, the longest that Windows knows.
const LONGEST_BLOB: usize = 4096;
const LONGEST_SIGNATURE: usize = 2048;
