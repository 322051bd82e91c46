//! Verification of signatures: by CNG on Windows, by OpenSSL elsewhere. The features of the crate do not change which.
#[cfg(any(not(windows), test))]
pub(crate) mod by_openssl;

#[cfg(not(windows))]
use self::by_openssl as platform;
#[cfg(windows)]
use crate::windows::bcrypt as platform;
use crate::{BindingKey, KeyError, KeyErrorKind, SignatureScheme};

/// Whether `signature` is the signature over `digest` by an RSA-2048 key (SubjectPublicKeyInfo in DER). False for a malformed key,
/// a key of another type or length, a digest of another length and a malformed signature. The salt of PSS must be
/// exactly as long as the digest.
pub fn verify(public_key: &[u8], scheme: SignatureScheme, digest: &[u8], signature: &[u8]) -> bool {
    check(platform::verify, public_key, scheme, digest, signature)
}

/// Signs a digest and verifies the signature with the key's public key. Without this check a broken key shows as an
/// unexplained error response of a service.
///
/// # Errors
/// The error of [`BindingKey::sign`], or [`KeyErrorKind::Failed`] if the signature is invalid.
pub fn sign_verified(
    key: &dyn BindingKey,
    scheme: SignatureScheme,
    digest: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let signature = key.sign(scheme, digest)?;
    check_signature(key.public_key_der(), scheme, digest, &signature)?;
    Ok(signature)
}

/// Checks that a key signs, as [`sign_verified`] does.
///
/// # Errors
/// Those of [`sign_verified`].
pub fn self_test(key: &dyn BindingKey) -> Result<(), KeyError> {
    sign_verified(key, SELF_TEST_SCHEME, &SELF_TEST_DIGEST).map(|_| ())
}

/// Verifies the signature over [`SELF_TEST_DIGEST`].
#[cfg(any(windows, test))]
pub(crate) fn check_self_test(public_key: &[u8], signature: &[u8]) -> Result<(), KeyError> {
    check_signature(public_key, SELF_TEST_SCHEME, &SELF_TEST_DIGEST, signature)
}

fn check_signature(
    public_key: &[u8],
    scheme: SignatureScheme,
    digest: &[u8],
    signature: &[u8],
) -> Result<(), KeyError> {
    if verify(public_key, scheme, digest, signature) {
        return Ok(());
    }
    Err(KeyError::new(
        KeyErrorKind::Failed,
        "the key's signature is invalid for its own public key",
    ))
}

/// Verifies a signature, whose length and whose digest's length were checked. The key was not checked.
type Verify = fn(&[u8], SignatureScheme, &[u8], &[u8]) -> bool;

fn check(
    verify: Verify,
    public_key: &[u8],
    scheme: SignatureScheme,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    digest.len() == scheme.digest_len()
        && signature.len() == SIGNATURE_LEN
        && verify(public_key, scheme, digest, signature)
}

pub(crate) const SELF_TEST_SCHEME: SignatureScheme = SignatureScheme::PssSha256;
/// Not the digest of anything.
pub(crate) const SELF_TEST_DIGEST: [u8; 32] = [0x5a; 32];
/// Of RSA-2048, in bytes.
const SIGNATURE_LEN: usize = 256;

#[cfg(test)]
mod tests;
