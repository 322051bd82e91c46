//! CNG key storage: <https://learn.microsoft.com/windows/win32/api/ncrypt/>.
use super::super::msal_certificate_cache::{KeyPlace, MsalCertificateCache};
use super::super::names::MutexName;
use super::super::ncrypt_api::{Lock, NcryptApi, Property, SILENT};
use super::super::status::Status;
use super::padding::with_padding;
use super::store::StorePath;
use super::{mutex, status};
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

/// `ncrypt.dll`.
#[derive(Debug)]
pub(super) struct Ncrypt;

impl NcryptApi for Ncrypt {
    fn open_provider(&self, name: &str) -> Result<usize, Status> {
        let mut provider = NCRYPT_PROV_HANDLE::default();
        // SAFETY: the handle is written to, the name ends with a zero.
        unsafe { NCryptOpenStorageProvider(&raw mut provider, &HSTRING::from(name), 0) }
            .map_err(|error| status(&error))?;
        Ok(provider.0)
    }

    unsafe fn open_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status> {
        let mut key = NCRYPT_KEY_HANDLE::default();
        let provider = NCRYPT_PROV_HANDLE(provider);
        let (name, flags) = (HSTRING::from(name), NCRYPT_FLAGS(flags));
        // SAFETY: the provider is open (the caller's promise), the handle is written to, the name ends with a zero.
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
        // SAFETY: the key is open (the caller's promise), name and value are whole.
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
        // SAFETY: as in `set_property`; no more is written than the buffer's length, which goes along.
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
        // SAFETY: the key is open (the caller's promise); no more is written than the buffer's length, which goes along.
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
            // SAFETY: the key is open (the caller's promise); the padding is of its kind and lives through the call; no
            // more is written than the buffer's length, which goes along.
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
        // SAFETY: the key is open, and nobody uses it hereafter where this succeeds (the caller's promise).
        unsafe { NCryptDeleteKey(NCRYPT_KEY_HANDLE(key), SILENT) }.map_err(|error| status(&error))
    }

    unsafe fn free(&self, object: usize) {
        // SAFETY: the object is open, and nobody uses it hereafter (the caller's promise).
        if let Err(error) = unsafe { NCryptFreeObject(NCRYPT_HANDLE(object)) } {
            tracing::warn!(status = %status(&error), "a handle could not be freed");
        }
    }

    fn lock(&self, name: &MutexName, longest: Duration) -> Lock {
        mutex::lock(name, longest)
    }

    fn purge_certificates(&self, place: &KeyPlace, public_key: &[u8]) {
        MsalCertificateCache::in_store(StorePath::current_user_my()).purge(place, public_key);
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

/// Keys of CNG have no legacy use.
const NOT_LEGACY: CERT_KEY_SPEC = CERT_KEY_SPEC(0);
