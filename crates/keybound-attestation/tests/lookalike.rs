//! A library that another signer signed in Microsoft's name, below a root that this Windows trusts. In its own process:
//! Windows reads its roots once.
#![cfg(windows)]
#![allow(clippy::unwrap_used, reason = "a test fails if its setup fails")]

#[path = "native/support.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod support;

use keybound_attestation::native::{NativeAttestation, NativeFailure};
use keybound_core::ErrorKind;
use support::{copy_of, failure, in_libraries, original};
use windows::Win32::Security::Cryptography::{
    CERT_CONTEXT, CERT_STORE_ADD_REPLACE_EXISTING, CertAddEncodedCertificateToStore,
    CertCloseStore, CertDeleteCertificateFromStore, CertOpenSystemStoreW, X509_ASN_ENCODING,
};
use windows::core::w;

#[test]
fn rejects_signature_below_other_trusted_root() {
    // The script writes it on a host without the signing tool.
    if let Ok(why) = std::fs::read_to_string(in_libraries("lookalike.absent")) {
        eprintln!("skipped: {why}");
        return;
    }
    let _root = TrustedRoot::new(&std::fs::read(original("lookalike-root.der")).unwrap());
    let path = copy_of("lookalike.dll", "lookalike");
    let probe = NativeAttestation::new().library(&path).probe();
    let library = probe.library.unwrap();
    assert!(library.trust.is_none() && !library.loaded, "{library:?}");
    let error = probe.failure.unwrap();
    assert_eq!(error.kind(), ErrorKind::AttestationLibraryUnusable);
    let NativeFailure::SignatureRejected { reason, .. } = failure(&error) else {
        panic!("{error:?}");
    };
    // The root itself is trusted.
    assert_eq!(
        reason,
        "its signature leads to a root that is not Microsoft's"
    );
}

/// A trusted root of this account, removed on drop.
struct TrustedRoot(*const CERT_CONTEXT);

impl TrustedRoot {
    fn new(der: &[u8]) -> Self {
        let mut added = std::ptr::null_mut();
        // SAFETY: the name ends with NUL, the pointer for the context is valid; the store is closed once.
        unsafe {
            let store = CertOpenSystemStoreW(None, w!("Root")).unwrap();
            CertAddEncodedCertificateToStore(
                Some(store),
                X509_ASN_ENCODING,
                der,
                CERT_STORE_ADD_REPLACE_EXISTING,
                Some(&raw mut added),
            )
            .unwrap();
            CertCloseStore(Some(store), 0).unwrap();
        }
        Self(added)
    }
}

impl Drop for TrustedRoot {
    fn drop(&mut self) {
        // SAFETY: the context is from `new`; the call frees it.
        let _ = unsafe { CertDeleteCertificateFromStore(self.0) };
    }
}
