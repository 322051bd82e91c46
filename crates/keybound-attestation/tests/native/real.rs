//! The real library, fetched from PyPI. Without a TPM each attestation fails.
use crate::support::{Key, attest, copy_of, failure, pinned};
use keybound_attestation::native::{LibraryTrust, NativeAttestation, NativeFailure};
use keybound_core::{ErrorKind, Stage};
use keybound_keys::CngHandle;
use keybound_testing::CapturedLog;
use std::sync::Arc;
use windows::Win32::Security::Cryptography::{
    BCRYPT_RSA_ALGORITHM, CERT_KEY_SPEC, MS_KEY_STORAGE_PROVIDER, NCRYPT_FLAGS, NCRYPT_HANDLE,
    NCRYPT_KEY_HANDLE, NCRYPT_PROV_HANDLE, NCryptCreatePersistedKey, NCryptFinalizeKey,
    NCryptFreeObject, NCryptOpenStorageProvider,
};
use windows::core::PCWSTR;

#[tokio::test]
async fn real_library_loads_logs_and_fails_without_tpm() {
    let log = CapturedLog::of_process();
    let provider = pinned(&copy_of(REAL, "real"));
    let key = Key {
        handle: Some(software_key()),
        ..Key::keyguard()
    };
    let error = attest(&provider, &key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AttestationFailed);
    assert_eq!(error.stage(), Stage::Attestation);
    assert!(!error.is_retryable());
    assert!(
        error.next_step().contains("Get-Tpm"),
        "{}",
        error.next_step()
    );
    let NativeFailure::LibraryFailed(code) = failure(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(
        (code.number(), code.name()),
        (-13, "ERRORTPMOPERATIONFAILURE")
    );
    let line = log.wait_for("Internal TPM Error");
    assert!(
        line.starts_with("ERROR keybound_attestation::library"),
        "{line}"
    );
    assert!(
        line.contains("function=AttestationClientImpl::Attest"),
        "{line}"
    );
}

#[test]
fn real_library_is_signed_by_microsoft() {
    let path = copy_of(REAL, "real-signed");
    let probe = NativeAttestation::new().library(&path).probe();
    let library = probe.library.unwrap();
    assert_eq!(
        library.trust,
        Some(LibraryTrust::SignedBy("Microsoft Corporation".to_owned())),
        "{:?}",
        probe.failure
    );
    assert!(probe.failure.is_none() && library.loaded && library.started);
}

#[test]
fn does_not_load_modified_real_library() {
    let path = copy_of(REAL, "real-changed");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let probe = NativeAttestation::new().library(&path).probe();
    let library = probe.library.unwrap();
    assert!(library.trust.is_none() && !library.loaded, "{library:?}");
    let failure = probe.failure.unwrap();
    assert_eq!(failure.kind(), ErrorKind::AttestationLibraryUnusable);
}

/// A software key in CNG, not a KeyGuard key.
fn software_key() -> CngHandle {
    let mut provider = NCRYPT_PROV_HANDLE::default();
    let mut key = NCRYPT_KEY_HANDLE::default();
    // SAFETY: the pointers for the handles are valid, the names end with NUL; without a name the key is ephemeral.
    unsafe {
        NCryptOpenStorageProvider(&raw mut provider, MS_KEY_STORAGE_PROVIDER, 0).unwrap();
        NCryptCreatePersistedKey(
            provider,
            &raw mut key,
            BCRYPT_RSA_ALGORITHM,
            PCWSTR::null(),
            CERT_KEY_SPEC(0),
            NCRYPT_FLAGS(0),
        )
        .unwrap();
        NCryptFinalizeKey(key, NCRYPT_FLAGS(0)).unwrap();
    }
    let opened = Arc::new(Opened { key, provider });
    // SAFETY: the handle is open until its owner is dropped; CNG handles may be used from every thread.
    unsafe { CngHandle::new(key.0, opened) }
}

struct Opened {
    key: NCRYPT_KEY_HANDLE,
    provider: NCRYPT_PROV_HANDLE,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: both were opened for this value, which frees them once.
        unsafe {
            let _ = NCryptFreeObject(NCRYPT_HANDLE(self.key.0));
            let _ = NCryptFreeObject(NCRYPT_HANDLE(self.provider.0));
        }
    }
}

const REAL: &str = "AttestationClientLib.dll";
