//! CNG key storage: <https://learn.microsoft.com/windows/win32/api/ncrypt/>, mutexes and certificate stores.
use super::super::certificate_store::CertificateEntry;
use super::super::mutex_name::MutexName;
use super::super::status::Status;
use super::super::store_path::StorePath;
use super::super::windows_api::{Lock, Property, SILENT, WindowsApi};
use super::padding::with_padding;
use super::{CertificateContext, Store, mutex, status};
use crate::SignatureScheme;
use std::time::Duration;
use windows::Win32::Security::Cryptography::{
    BCRYPT_RSA_ALGORITHM, BCRYPT_RSAPUBLIC_BLOB, CERT_KEY_SPEC, NCRYPT_ALGORITHM_GROUP_PROPERTY,
    NCRYPT_EXPORT_POLICY_PROPERTY, NCRYPT_FLAGS, NCRYPT_HANDLE, NCRYPT_KEY_HANDLE,
    NCRYPT_KEY_USAGE_PROPERTY, NCRYPT_LENGTH_PROPERTY, NCRYPT_PROV_HANDLE,
    NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY, NCryptCreatePersistedKey, NCryptDeleteKey,
    NCryptExportKey, NCryptFinalizeKey, NCryptFreeObject, NCryptGetProperty, NCryptOpenKey,
    NCryptOpenStorageProvider, NCryptSetProperty, NCryptSignHash,
};
use windows::Win32::Security::OBJECT_SECURITY_INFORMATION;
use windows::core::{HSTRING, PCWSTR};

/// The functions of Windows.
#[derive(Debug)]
pub(super) struct NativeApi;

impl WindowsApi for NativeApi {
    fn open_provider(&self, name: &str) -> Result<usize, Status> {
        let mut provider = NCRYPT_PROV_HANDLE::default();
        // SAFETY: the handle is an out pointer, the name is zero-terminated.
        unsafe { NCryptOpenStorageProvider(&raw mut provider, &HSTRING::from(name), 0) }
            .map_err(|error| status(&error))?;
        Ok(provider.0)
    }

    unsafe fn open_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status> {
        let mut key = NCRYPT_KEY_HANDLE::default();
        let provider = NCRYPT_PROV_HANDLE(provider);
        let (name, flags) = (HSTRING::from(name), NCRYPT_FLAGS(flags));
        // SAFETY: the provider is open (the caller's promise), the handle is an out pointer, the name is zero-terminated.
        unsafe { NCryptOpenKey(provider, &raw mut key, &name, NOT_LEGACY, flags) }
            .map_err(|error| status(&error))?;
        Ok(key.0)
    }

    unsafe fn create_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status> {
        let mut key = NCRYPT_KEY_HANDLE::default();
        let provider = NCRYPT_PROV_HANDLE(provider);
        let (name, flags) = (HSTRING::from(name), NCRYPT_FLAGS(flags));
        // SAFETY: as in `open_key`.
        unsafe {
            NCryptCreatePersistedKey(
                provider,
                &raw mut key,
                BCRYPT_RSA_ALGORITHM,
                &name,
                NOT_LEGACY,
                flags,
            )
        }
        .map_err(|error| status(&error))?;
        Ok(key.0)
    }

    unsafe fn set_property(
        &self,
        key: usize,
        property: Property,
        value: u32,
    ) -> Result<(), Status> {
        let value = value.to_le_bytes();
        // SAFETY: the key is open (the caller's promise), name and value are valid during the call.
        unsafe {
            NCryptSetProperty(
                NCRYPT_HANDLE(key),
                name_of(property),
                &value,
                NCRYPT_FLAGS(0),
            )
        }
        .map_err(|error| status(&error))
    }

    unsafe fn property(
        &self,
        key: usize,
        property: Property,
        into: &mut [u8],
    ) -> Result<usize, Status> {
        let mut written = 0;
        let flags = OBJECT_SECURITY_INFORMATION(SILENT);
        // SAFETY: as in `set_property`; at most the buffer's length, which is passed, is written.
        unsafe {
            NCryptGetProperty(
                NCRYPT_HANDLE(key),
                name_of(property),
                Some(into),
                &raw mut written,
                flags,
            )
        }
        .map_err(|error| status(&error))?;
        Ok(written as usize)
    }

    unsafe fn finalize(&self, key: usize) -> Result<(), Status> {
        // SAFETY: the key is open (the caller's promise).
        unsafe { NCryptFinalizeKey(NCRYPT_KEY_HANDLE(key), NCRYPT_FLAGS(SILENT)) }
            .map_err(|error| status(&error))
    }

    unsafe fn export_public(&self, key: usize, into: &mut [u8]) -> Result<usize, Status> {
        let mut written = 0;
        // SAFETY: the key is open (the caller's promise); at most the buffer's length, which is passed, is written.
        unsafe {
            NCryptExportKey(
                NCRYPT_KEY_HANDLE(key),
                None,
                BCRYPT_RSAPUBLIC_BLOB,
                None,
                Some(into),
                &raw mut written,
                NCRYPT_FLAGS(SILENT),
            )
        }
        .map_err(|error| status(&error))?;
        Ok(written as usize)
    }

    unsafe fn sign(
        &self,
        key: usize,
        scheme: SignatureScheme,
        digest: &[u8],
        into: &mut [u8],
    ) -> Result<usize, Status> {
        let mut written = 0;
        with_padding(scheme, |padding, kind| {
            // SAFETY: the key is open (the caller's promise); the padding has the type of the flag and outlives the call; at
            // most the buffer's length, which is passed, is written.
            unsafe {
                NCryptSignHash(
                    NCRYPT_KEY_HANDLE(key),
                    Some(padding),
                    digest,
                    Some(into),
                    &raw mut written,
                    NCRYPT_FLAGS(kind | SILENT),
                )
            }
        })
        .map_err(|error| status(&error))?;
        Ok(written as usize)
    }

    unsafe fn delete(&self, key: usize) -> Result<(), Status> {
        // SAFETY: the key is open, and is not used again if this succeeds (the caller's promise).
        unsafe { NCryptDeleteKey(NCRYPT_KEY_HANDLE(key), SILENT) }.map_err(|error| status(&error))
    }

    unsafe fn free(&self, object: usize) {
        // SAFETY: the object is open, and is not used again (the caller's promise).
        if let Err(error) = unsafe { NCryptFreeObject(NCRYPT_HANDLE(object)) } {
            tracing::warn!(status = %status(&error), "a handle could not be freed");
        }
    }

    fn lock(&self, name: &MutexName, timeout: Duration) -> Lock {
        mutex::lock(name, timeout)
    }

    fn certificates(&self, store: &StorePath) -> Result<Vec<CertificateEntry>, Status> {
        let Some(store) = Store::read(store)? else {
            return Ok(Vec::new());
        };
        Ok(store
            .certificates()
            .iter()
            .map(CertificateContext::entry)
            .collect())
    }

    fn add_certificate(&self, store: &StorePath, entry: &CertificateEntry) -> Result<(), Status> {
        // The context is complete before it is added, so that the change is atomic.
        let mut context = CertificateContext::from_der(&entry.der)?;
        context.set_friendly_name(&entry.friendly_name)?;
        if let Some(key) = &entry.key {
            context.set_key_prov_info(key)?;
        }
        Store::write(store)?.add(&context)
    }

    fn remove_certificate(&self, store: &StorePath, der: &[u8]) -> Result<(), Status> {
        Store::write(store)?.remove(der)
    }
}

fn name_of(property: Property) -> PCWSTR {
    match property {
        Property::Length => NCRYPT_LENGTH_PROPERTY,
        Property::ExportPolicy => NCRYPT_EXPORT_POLICY_PROPERTY,
        Property::KeyUsage => NCRYPT_KEY_USAGE_PROPERTY,
        Property::VirtualIsolation => NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY,
        Property::AlgorithmGroup => NCRYPT_ALGORITHM_GROUP_PROPERTY,
    }
}

/// The key spec of CNG keys, which have no legacy use.
const NOT_LEGACY: CERT_KEY_SPEC = CERT_KEY_SPEC(0);
