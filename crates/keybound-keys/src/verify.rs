//! Whether signatures hold: by CNG on Windows, by OpenSSL elsewhere. The features of the crate do not change which.
#[cfg(any(not(windows), test))]
pub(crate) mod by_openssl;

#[cfg(not(windows))]
use self::by_openssl as platform;
#[cfg(windows)]
use crate::windows::signatures as platform;
use crate::{BindingKey, KeyError, KeyErrorKind, SignatureScheme};

/// Whether `signature` is the signature over `digest` of an RSA-2048 key (SubjectPublicKeyInfo in DER). A malformed key,
/// one of another kind or length, a digest of another length or a malformed signature is none. The salt of PSS has to be
/// exactly as long as the digest.
pub fn verify(public_key: &[u8], scheme: SignatureScheme, digest: &[u8], signature: &[u8]) -> bool {
    check(platform::holds, public_key, scheme, digest, signature)
}

/// Checks that a key signs and that its signature holds against its own public half: a broken key otherwise shows as
/// an unexplained refusal of a service.
///
/// # Errors
/// What signing said, or [`KeyErrorKind::Failed`] where the signature does not hold.
pub fn self_test(key: &dyn BindingKey) -> Result<(), KeyError> {
    let digest = [0x5a; 32];
    let signature = key.sign(SignatureScheme::PssSha256, &digest)?;
    if verify(
        key.public_key_der(),
        SignatureScheme::PssSha256,
        &digest,
        &signature,
    ) {
        return Ok(());
    }
    Err(KeyError::new(
        KeyErrorKind::Failed,
        "the key's signature does not hold against its own public key",
    ))
}

/// Whether a signature holds. The lengths of digest and signature were checked, nothing was of the key.
type Holds = fn(&[u8], SignatureScheme, &[u8], &[u8]) -> bool;

fn check(
    holds: Holds,
    public_key: &[u8],
    scheme: SignatureScheme,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    digest.len() == scheme.digest_len()
        && signature.len() == SIGNATURE
        && holds(public_key, scheme, digest, signature)
}

/// Of RSA-2048, in bytes.
const SIGNATURE: usize = 256;

#[cfg(test)]
mod tests;
