//! The functions of Windows that keys and certificates need, as a trait, so that tests can replace Windows.
#![allow(unsafe_code, reason = "the caller promises that a handle is open")]
use super::certificate_store::CertificateEntry;
use super::mutex_name::MutexName;
use super::status::Status;
use super::store_path::StorePath;
use crate::SignatureScheme;
use std::any::Any;
use std::fmt;
use std::time::Duration;

/// Windows, or a fake in tests. Handles are numbers here; [`Provider`](super::handle::Provider) and
/// [`Key`](super::handle::Key) own them and are the only callers of the functions with handles.
///
/// # Safety
/// One rule for all unsafe functions: a handle argument was opened by this API and is still open.
pub(crate) trait WindowsApi: Send + Sync + fmt::Debug {
    /// `NCryptOpenStorageProvider`.
    fn open_provider(&self, name: &str) -> Result<usize, Status>;

    /// `NCryptOpenKey`.
    unsafe fn open_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status>;

    /// `NCryptCreatePersistedKey`, for RSA.
    unsafe fn create_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status>;

    /// `NCryptSetProperty`, for numeric properties.
    unsafe fn set_property(&self, key: usize, property: Property, value: u32)
    -> Result<(), Status>;

    /// `NCryptGetProperty`. Returns the number of bytes written.
    unsafe fn property(
        &self,
        key: usize,
        property: Property,
        into: &mut [u8],
    ) -> Result<usize, Status>;

    /// `NCryptFinalizeKey`.
    unsafe fn finalize(&self, key: usize) -> Result<(), Status>;

    /// `NCryptExportKey` of the public key (`RSAPUBLICBLOB`); there is no function for the private key. Returns the number of
    /// bytes written.
    unsafe fn export_public(&self, key: usize, into: &mut [u8]) -> Result<usize, Status>;

    /// `NCryptSignHash`. Returns the number of bytes written.
    unsafe fn sign(
        &self,
        key: usize,
        scheme: SignatureScheme,
        digest: &[u8],
        into: &mut [u8],
    ) -> Result<usize, Status>;

    /// `NCryptDeleteKey`: deletes the key and frees its handle. On failure the handle is still open.
    unsafe fn delete(&self, key: usize) -> Result<(), Status>;

    /// `NCryptFreeObject`, for a provider or a key.
    unsafe fn free(&self, object: usize);

    /// Acquires the mutex of this name, across all processes of this account, within the timeout.
    fn lock(&self, name: &MutexName, timeout: Duration) -> Lock;

    /// All certificates of a store. A store that does not exist is empty.
    fn certificates(&self, store: &StorePath) -> Result<Vec<CertificateEntry>, Status>;

    /// Adds a certificate atomically, in place of the same certificate.
    fn add_certificate(&self, store: &StorePath, entry: &CertificateEntry) -> Result<(), Status>;

    /// Removes the certificate with this DER.
    fn remove_certificate(&self, store: &StorePath, der: &[u8]) -> Result<(), Status>;
}

/// The result of acquiring a mutex.
pub(crate) enum Lock {
    /// Acquired; dropping the value releases it.
    Held(#[expect(dead_code, reason = "it is only dropped")] Box<dyn Any>),
    /// Another process of this account held it until the timeout.
    Busy,
    /// No object of this name is a mutex of this account; there was no wait.
    Unusable,
}

/// The properties in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    Length,
    ExportPolicy,
    KeyUsage,
    VirtualIsolation,
    AlgorithmGroup,
}

/// `NCRYPT_SILENT_FLAG`: no user interface.
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
