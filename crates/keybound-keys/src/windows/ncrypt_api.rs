//! The functions of Windows that keys need, as a trait, so that tests can replace Windows.
#![allow(unsafe_code, reason = "to pass a handle is to promise that it is open")]
use super::msal_certificate_cache::KeyPlace;
use super::names::MutexName;
use super::status::Status;
use crate::SignatureScheme;
use std::fmt;
use std::time::Duration;

/// Windows, or the implementation of a test. Handles are numbers here; [`Provider`](super::handle::Provider) and
/// [`Key`](super::handle::Key) own them and are all that calls these functions.
///
/// # Safety
/// One rule for all that is unsafe here: a handle that is passed was opened by this API and is still open.
pub(crate) trait NcryptApi: Send + Sync + fmt::Debug {
    /// `NCryptOpenStorageProvider`.
    fn open_provider(&self, name: &str) -> Result<usize, Status>;

    /// `NCryptOpenKey`.
    unsafe fn open_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status>;

    /// `NCryptCreatePersistedKey`, for RSA.
    unsafe fn create_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status>;

    /// `NCryptSetProperty`, for properties that are numbers.
    unsafe fn set_property(&self, key: usize, property: Property, value: u32)
    -> Result<(), Status>;

    /// `NCryptGetProperty`: how many bytes were written.
    unsafe fn property(
        &self,
        key: usize,
        property: Property,
        into: &mut [u8],
    ) -> Result<usize, Status>;

    /// `NCryptFinalizeKey`.
    unsafe fn finalize(&self, key: usize) -> Result<(), Status>;

    /// `NCryptExportKey` of the public key (`RSAPUBLICBLOB`): how many bytes were written. There is no way to the private
    /// one.
    unsafe fn export_public(&self, key: usize, into: &mut [u8]) -> Result<usize, Status>;

    /// `NCryptSignHash`: how many bytes were written.
    unsafe fn sign(
        &self,
        key: usize,
        scheme: SignatureScheme,
        digest: &[u8],
        into: &mut [u8],
    ) -> Result<usize, Status>;

    /// `NCryptDeleteKey`: the key, and its handle. On failure the handle is still open.
    unsafe fn delete(&self, key: usize) -> Result<(), Status>;

    /// `NCryptFreeObject`, of a provider or a key.
    unsafe fn free(&self, object: usize);

    /// Acquires the mutex of this name, over all processes of this account, and waits no longer than that.
    fn lock(&self, name: &MutexName, longest: Duration) -> Lock;

    /// Removes the certificates of managed identities that name this place from `CurrentUser\My`, unless they are for this
    /// public key: theirs is lost. What fails is logged.
    fn purge_certificates(&self, place: &KeyPlace, public_key: &[u8]);
}

/// The outcome of acquiring a mutex.
pub(crate) enum Lock {
    /// It is acquired, until this is dropped.
    Held(#[expect(dead_code, reason = "it is only dropped")] Box<dyn Held>),
    /// Another process of this account held it for all of that time.
    Busy,
    /// No object of this name is a mutex of this account: nothing was waited for.
    Unusable,
}

/// A mutex that is held until this is dropped.
pub(crate) trait Held {}

/// The properties in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    Length,
    ExportPolicy,
    KeyUsage,
    VirtualIsolation,
    AlgorithmGroup,
}

/// `NCRYPT_SILENT_FLAG`: a service has nobody to ask.
pub(crate) const SILENT: u32 = 0x40;
/// `NCRYPT_OVERWRITE_KEY_FLAG`.
pub(crate) const OVERWRITE: u32 = 0x80;
/// `NCRYPT_MACHINE_KEY_FLAG`.
pub(crate) const MACHINE: u32 = 0x20;
/// `NCRYPT_USE_VIRTUAL_ISOLATION_FLAG`.
pub(crate) const VIRTUAL_ISOLATION: u32 = 0x0002_0000;
/// `NCRYPT_USE_PER_BOOT_KEY_FLAG`.
pub(crate) const PER_BOOT: u32 = 0x0004_0000;
/// `NCRYPT_ALLOW_SIGNING_FLAG | NCRYPT_ALLOW_DECRYPT_FLAG`.
pub(crate) const SIGN_AND_DECRYPT: u32 = 0x2 | 0x1;
