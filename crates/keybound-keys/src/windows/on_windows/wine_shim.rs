//! Real CNG keys under Wine. Wine neither opens keys by name, nor deletes them, nor reports whether they are isolated: the shim
//! does.
#![allow(
    unsafe_code,
    reason = "the caller's promises about handles apply to the calls of the shim"
)]
use super::super::certificate_store::CertificateEntry;
use super::super::mutex_name::MutexName;
use super::super::native;
use super::super::status::Status;
use super::super::store_path::StorePath;
use super::super::windows_api::{Lock, PER_BOOT, Property, VIRTUAL_ISOLATION, WindowsApi};
use crate::SignatureScheme;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Delegates to Wine, adds the functions that it lacks, and counts handles.
#[derive(Debug)]
pub(super) struct WineShim {
    windows: Arc<dyn WindowsApi>,
    /// Whether the host has a TPM and virtualization-based security, which isolates every key.
    has_tpm_and_vbs: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The real handles of finalized keys by name, open until the end.
    finalized: HashMap<String, usize>,
    /// New keys by their handles.
    names: HashMap<usize, String>,
    /// The number of references to each real handle.
    open: HashMap<usize, usize>,
}

impl WineShim {
    pub(super) fn new() -> Arc<Self> {
        Self::with(true)
    }

    /// A host with neither a TPM nor virtualization-based security.
    pub(super) fn without_tpm_and_vbs() -> Arc<Self> {
        Self::with(false)
    }

    fn with(has_tpm_and_vbs: bool) -> Arc<Self> {
        Arc::new(Self {
            windows: native::api(),
            has_tpm_and_vbs,
            state: Mutex::default(),
        })
    }

    /// The number of open handles.
    pub(super) fn open_handles(&self) -> usize {
        self.state().open.values().sum()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn add_reference(&self, raw: usize) -> usize {
        *self.state().open.entry(raw).or_default() += 1;
        raw
    }

    /// Returns whether it was the last one, of a handle without a finalized key.
    fn remove_reference(&self, raw: usize) -> bool {
        let mut state = self.state();
        let count = state.open.get_mut(&raw).expect("an open handle");
        *count -= 1;
        if *count > 0 {
            return false;
        }
        state.open.remove(&raw);
        state.names.remove(&raw);
        !state.finalized.values().any(|handle| *handle == raw)
    }
}

impl Drop for WineShim {
    fn drop(&mut self) {
        assert_eq!(self.open_handles(), 0);
        for raw in std::mem::take(&mut self.state().finalized).into_values() {
            // SAFETY: the handle is open and not used again.
            unsafe { self.windows.free(raw) };
        }
    }
}

impl WindowsApi for Arc<WineShim> {
    fn open_provider(&self, name: &str) -> Result<usize, Status> {
        if !self.has_tpm_and_vbs && name == "Microsoft Platform Crypto Provider" {
            return Err(Status::TPM_NOT_FOUND);
        }
        self.windows
            .open_provider(name)
            .map(|raw| self.add_reference(raw))
    }

    unsafe fn open_key(&self, _: usize, name: &str, _: u32) -> Result<usize, Status> {
        let handle = self.state().finalized.get(name).copied();
        handle
            .map(|raw| self.add_reference(raw))
            .ok_or(Status::BAD_KEYSET)
    }

    unsafe fn create_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status> {
        // Unique, so that tests do not share a key if Wine stores it by its name.
        let unique_name = format!("{name}-{}", CREATED.fetch_add(1, Ordering::Relaxed));
        let flags = flags & !KEYGUARD;
        // SAFETY: the caller's promise, here and below.
        let raw = unsafe { self.windows.create_key(provider, &unique_name, flags) }?;
        self.state().names.insert(raw, name.to_owned());
        Ok(self.add_reference(raw))
    }

    unsafe fn set_property(
        &self,
        key: usize,
        property: Property,
        value: u32,
    ) -> Result<(), Status> {
        // SAFETY: as above.
        unsafe { self.windows.set_property(key, property, value) }
    }

    unsafe fn property(
        &self,
        key: usize,
        property: Property,
        into: &mut [u8],
    ) -> Result<usize, Status> {
        if self.has_tpm_and_vbs && property == Property::VirtualIsolation {
            into[..4].copy_from_slice(&[1, 0, 0, 0]);
            return Ok(4);
        }
        // SAFETY: as above.
        unsafe { self.windows.property(key, property, into) }
    }

    unsafe fn finalize(&self, key: usize) -> Result<(), Status> {
        // SAFETY: as above.
        unsafe { self.windows.finalize(key) }?;
        let mut state = self.state();
        let name = state.names[&key].clone();
        state.finalized.insert(name, key);
        Ok(())
    }

    unsafe fn export_public(&self, key: usize, into: &mut [u8]) -> Result<usize, Status> {
        // SAFETY: as above.
        unsafe { self.windows.export_public(key, into) }
    }

    unsafe fn sign(
        &self,
        key: usize,
        scheme: SignatureScheme,
        digest: &[u8],
        into: &mut [u8],
    ) -> Result<usize, Status> {
        // SAFETY: as above.
        unsafe { self.windows.sign(key, scheme, digest, into) }
    }

    /// Wine does not delete keys, and does not store them either.
    unsafe fn delete(&self, key: usize) -> Result<(), Status> {
        self.state().finalized.retain(|_, handle| *handle != key);
        // SAFETY: as above.
        unsafe { self.free(key) };
        Ok(())
    }

    unsafe fn free(&self, object: usize) {
        if self.remove_reference(object) {
            // SAFETY: as above.
            unsafe { self.windows.free(object) };
        }
    }

    fn lock(&self, name: &MutexName, timeout: Duration) -> Lock {
        self.windows.lock(name, timeout)
    }

    /// Tests do not use the certificates of this user.
    fn certificates(&self, _: &StorePath) -> Result<Vec<CertificateEntry>, Status> {
        Ok(Vec::new())
    }

    fn add_certificate(&self, _: &StorePath, _: &CertificateEntry) -> Result<(), Status> {
        Err(Status::NOT_SUPPORTED)
    }

    fn remove_certificate(&self, _: &StorePath, _: &[u8]) -> Result<(), Status> {
        Err(Status::NOT_SUPPORTED)
    }
}

/// The flags that neither Wine nor the shim for its ncrypt.dll supports.
const KEYGUARD: u32 = VIRTUAL_ISOLATION | PER_BOOT;

/// The number of created keys.
static CREATED: AtomicUsize = AtomicUsize::new(0);
