//! Real keys of CNG under Wine, where they neither open by name, nor are deleted, nor tell whether they are isolated: that
//! is played here.
#![allow(
    unsafe_code,
    reason = "handles are passed on under the promise that they came with"
)]
use super::super::msal_certificate_cache::KeyPlace;
use super::super::names::MutexName;
use super::super::native;
use super::super::ncrypt_api::{Lock, NcryptApi, PER_BOOT, Property, VIRTUAL_ISOLATION};
use super::super::status::Status;
use crate::SignatureScheme;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Passes all on, but for what Wine lacks, and counts handles.
#[derive(Debug)]
pub(super) struct WineShim {
    windows: Arc<dyn NcryptApi>,
    /// Whether there are a TPM and virtualization-based security, which isolates every key.
    protects: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Finalized keys by name: their real handles, kept until the end.
    kept: HashMap<String, usize>,
    /// New keys by their handles.
    names: HashMap<usize, String>,
    /// How often each real handle is lent.
    open: HashMap<usize, usize>,
}

impl WineShim {
    pub(super) fn new() -> Arc<Self> {
        Self::of_a_host(true)
    }

    /// Of a host with neither a TPM nor virtualization-based security.
    pub(super) fn of_a_plain_host() -> Arc<Self> {
        Self::of_a_host(false)
    }

    fn of_a_host(protects: bool) -> Arc<Self> {
        Arc::new(Self {
            windows: native::api(),
            protects,
            state: Mutex::default(),
        })
    }

    /// Handles that are open now.
    pub(super) fn open_now(&self) -> usize {
        self.state().open.values().sum()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn lend(&self, raw: usize) -> usize {
        *self.state().open.entry(raw).or_default() += 1;
        raw
    }

    /// Whether it was the last one, of a handle that is not kept.
    fn give_back(&self, raw: usize) -> bool {
        let mut state = self.state();
        let count = state.open.get_mut(&raw).expect("an open handle");
        *count -= 1;
        if *count > 0 {
            return false;
        }
        state.open.remove(&raw);
        state.names.remove(&raw);
        !state.kept.values().any(|kept| *kept == raw)
    }
}

impl Drop for WineShim {
    fn drop(&mut self) {
        assert_eq!(self.open_now(), 0);
        for raw in std::mem::take(&mut self.state().kept).into_values() {
            // SAFETY: it was kept open for this.
            unsafe { self.windows.free(raw) };
        }
    }
}

impl NcryptApi for Arc<WineShim> {
    fn open_provider(&self, name: &str) -> Result<usize, Status> {
        if !self.protects && name == "Microsoft Platform Crypto Provider" {
            return Err(Status::TPM_NOT_FOUND);
        }
        self.windows.open_provider(name).map(|raw| self.lend(raw))
    }

    unsafe fn open_key(&self, _: usize, name: &str, _: u32) -> Result<usize, Status> {
        let kept = self.state().kept.get(name).copied();
        kept.map(|raw| self.lend(raw)).ok_or(Status::BAD_KEYSET)
    }

    unsafe fn create_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status> {
        // No two are to meet in a key, where it is kept by its name: names are for `kept` alone.
        let own_name = format!("{name}-{}", MADE.fetch_add(1, Ordering::Relaxed));
        let flags = flags & !KEYGUARD;
        // SAFETY: the caller's promise, here and below.
        let raw = unsafe { self.windows.create_key(provider, &own_name, flags) }?;
        self.state().names.insert(raw, name.to_owned());
        Ok(self.lend(raw))
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
        if self.protects && property == Property::VirtualIsolation {
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
        state.kept.insert(name, key);
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

    /// Wine does not do it; and keeps nothing that would be left.
    unsafe fn delete(&self, key: usize) -> Result<(), Status> {
        self.state().kept.retain(|_, kept| *kept != key);
        // SAFETY: as above.
        unsafe { self.free(key) };
        Ok(())
    }

    unsafe fn free(&self, object: usize) {
        if self.give_back(object) {
            // SAFETY: as above.
            unsafe { self.windows.free(object) };
        }
    }

    fn lock(&self, name: &MutexName, longest: Duration) -> Lock {
        self.windows.lock(name, longest)
    }

    /// The certificates of this user are not for tests.
    fn purge_certificates(&self, _: &KeyPlace, _: &[u8]) {}
}

/// What there is not, neither in Wine nor in the stand-in for its ncrypt.dll.
const KEYGUARD: u32 = VIRTUAL_ISOLATION | PER_BOOT;

/// How many keys were made.
static MADE: AtomicUsize = AtomicUsize::new(0);
