//! CNG handles, each with one owner that frees it.
#![allow(
    unsafe_code,
    reason = "the owner of a handle guarantees that it is open"
)]
use super::key_prov_info::KeyProvInfo;
use super::status::{Status, Step};
use super::windows_api::{MACHINE, Property, SILENT, WindowsApi};
use crate::SignatureScheme;
use keybound_core::lock;
use std::sync::{Arc, Mutex};

/// An open key storage provider.
#[derive(Debug)]
pub(crate) struct Provider {
    raw: usize,
    api: Arc<dyn WindowsApi>,
}

impl Provider {
    pub(crate) fn open(api: &Arc<dyn WindowsApi>, name: &str) -> Result<Arc<Self>, Status> {
        Ok(Arc::new(Self {
            raw: api.open_provider(name)?,
            api: Arc::clone(api),
        }))
    }

    pub(crate) fn open_key(self: &Arc<Self>, name: &str, flags: u32) -> Result<Key, Status> {
        // SAFETY: `self.raw` was opened by this API and stays open until `self` is dropped.
        let raw = unsafe { self.api.open_key(self.raw, name, flags | SILENT) }?;
        Ok(self.key(raw))
    }

    /// Creates a key, which is stored when it is [finalized](Key::finalize).
    pub(crate) fn create_key(self: &Arc<Self>, name: &str, flags: u32) -> Result<Key, Status> {
        // SAFETY: as in `open_key`.
        let raw = unsafe { self.api.create_key(self.raw, name, flags) }?;
        Ok(self.key(raw))
    }

    fn key(self: &Arc<Self>, raw: usize) -> Key {
        Key {
            raw,
            signing: Mutex::new(()),
            provider: Arc::clone(self),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // SAFETY: `self.raw` was opened by this API and has no other user: keys hold a reference to their provider, except for
        // keys that a certificate context owns (`Key::into_raw`). .NET frees the providers of such keys, too.
        unsafe { self.api.free(self.raw) };
    }
}

/// An open key.
#[derive(Debug)]
pub(crate) struct Key {
    /// [`NONE`] if the handle has been freed or has another owner.
    raw: usize,
    /// Held while the key signs: CNG does not guarantee that two threads can sign with one handle at the same time:
    /// <https://learn.microsoft.com/windows/win32/seccng/cng-features>, "Thread safety".
    signing: Mutex<()>,
    /// Freed after the key.
    provider: Arc<Provider>,
}

impl Key {
    /// Opens the key that a certificate names. An error comes with the step that failed.
    pub(crate) fn open(
        api: &Arc<dyn WindowsApi>,
        info: &KeyProvInfo,
    ) -> Result<Self, (Step, Status)> {
        let flags = if info.machine { MACHINE } else { 0 };
        Provider::open(api, &info.provider)
            .map_err(|status| (Step::OpenProvider, status))?
            .open_key(&info.container, flags)
            .map_err(|status| (Step::Open, status))
    }

    pub(crate) fn set(&self, property: Property, value: u32) -> Result<(), Status> {
        // SAFETY: `self.raw` was opened by this API and stays open until `self` is dropped.
        unsafe { self.api().set_property(self.raw, property, value) }
    }

    /// The value of a property, at most 64 bytes.
    pub(crate) fn get(&self, property: Property) -> Result<Vec<u8>, Status> {
        // SAFETY: as in `set`.
        read(MAX_PROPERTY, |into| unsafe {
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
        read(MAX_BLOB, |into| unsafe {
            self.api().export_public(self.raw, into)
        })
    }

    pub(crate) fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, Status> {
        let _signing = lock(&self.signing);
        // SAFETY: as in `set`.
        read(MAX_SIGNATURE, |into| unsafe {
            self.api().sign(self.raw, scheme, digest, into)
        })
    }

    /// Deletes the key from its provider.
    pub(crate) fn delete(mut self) -> Result<(), Status> {
        // SAFETY: as in `set`. On success the handle was freed with the key, and is not used again.
        unsafe { self.api().delete(self.raw) }?;
        self.raw = NONE;
        Ok(())
    }

    /// The API that opened it.
    pub(crate) fn api(&self) -> &Arc<dyn WindowsApi> {
        &self.provider.api
    }

    /// The value of the handle, which is open while `self` lives.
    pub(crate) fn raw(&self) -> usize {
        self.raw
    }

    /// The value of the handle, which the caller frees. The provider is freed before it, as .NET does for the keys of
    /// certificates.
    #[cfg(windows)]
    pub(crate) fn into_raw(mut self) -> usize {
        std::mem::replace(&mut self.raw, NONE)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if self.raw != NONE {
            // SAFETY: the handle was opened by this API, is open, and has no other user.
            unsafe { self.api().free(self.raw) };
        }
    }
}

/// Returns what a function writes into a buffer of this length.
fn read(
    max: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, Status>,
) -> Result<Vec<u8>, Status> {
    let mut buffer = vec![0; max];
    let written = write(&mut buffer)?;
    buffer.truncate(written);
    Ok(buffer)
}

/// No handle has this value.
const NONE: usize = 0;
const MAX_PROPERTY: usize = 64;
/// Enough for RSA-16384, the longest RSA key of Windows.
const MAX_BLOB: usize = 4096;
const MAX_SIGNATURE: usize = 2048;
