//! Verification by CNG: <https://learn.microsoft.com/windows/win32/api/bcrypt/>.
use super::super::status::Status;
use super::counted;
use super::padding::with_padding;
use crate::SignatureScheme;
use crate::rsa_blob::public_blob;
use windows::Win32::Foundation::{NTSTATUS, STATUS_INVALID_SIGNATURE};
use windows::Win32::Security::Cryptography::{
    BCRYPT_FLAGS, BCRYPT_KEY_HANDLE, BCRYPT_RSA_ALG_HANDLE, BCRYPT_RSAPUBLIC_BLOB,
    BCryptDestroyKey, BCryptImportKeyPair, BCryptVerifySignature,
};

/// Verifies a signature by a public key (SubjectPublicKeyInfo), which must be RSA-2048.
pub(crate) fn verify(
    public_key: &[u8],
    scheme: SignatureScheme,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    let Some(blob) = public_blob(public_key) else {
        return false;
    };
    match PublicKey::import(&blob).map(|key| key.verify(scheme, digest, signature)) {
        Ok(STATUS_INVALID_SIGNATURE) => false,
        Ok(status) if status.is_ok() => true,
        Ok(status) | Err(status) => {
            let status = Status(status.0.cast_unsigned());
            tracing::debug!(%status, "a signature could not be verified");
            false
        }
    }
}

struct PublicKey(BCRYPT_KEY_HANDLE);

impl PublicKey {
    fn import(blob: &[u8]) -> Result<Self, NTSTATUS> {
        let mut key = BCRYPT_KEY_HANDLE::default();
        // SAFETY: the handle of the algorithm is a constant of every Windows that Rust's library supports, and the blob type is
        // a zero-terminated constant. The blob is passed with its length; the key's handle is an out pointer.
        let status = unsafe {
            BCryptImportKeyPair(
                BCRYPT_RSA_ALG_HANDLE,
                None,
                BCRYPT_RSAPUBLIC_BLOB,
                &raw mut key,
                blob,
                0,
            )
        };
        if status.is_err() {
            return Err(status);
        }
        counted::add(1);
        Ok(Self(key))
    }

    fn verify(&self, scheme: SignatureScheme, digest: &[u8], signature: &[u8]) -> NTSTATUS {
        with_padding(scheme, |padding, kind| {
            // SAFETY: the key is open until `self` is dropped; the padding has the type of the flag and outlives the call;
            // digest and signature are passed with their lengths, and only read.
            unsafe {
                BCryptVerifySignature(self.0, Some(padding), digest, signature, BCRYPT_FLAGS(kind))
            }
        })
    }
}

impl Drop for PublicKey {
    fn drop(&mut self) {
        counted::add(-1);
        // SAFETY: the key is open and not used again.
        let status = unsafe { BCryptDestroyKey(self.0) };
        if status.is_err() {
            let status = Status(status.0.cast_unsigned());
            tracing::warn!(%status, "a handle could not be freed");
        }
    }
}
