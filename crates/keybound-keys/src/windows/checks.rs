//! What is required of a key before it is used, whatever created it.
use super::handle::Key;
use super::ncrypt_api::Property;
use super::status::{Status, Step};
use crate::{KeyError, KeyErrorKind, SignatureScheme, verify};

/// Whether the key's provider may hand out its private half, in whatever form. One that does not tell is an error: each
/// provider that keys are made with gets a policy when it creates them.
pub(crate) fn is_exportable(key: &Key) -> Result<bool, KeyError> {
    let policy = key
        .get(Property::ExportPolicy)
        .map_err(|status| Step::ReadExportPolicy.error(status, false))?;
    Ok(policy != [0; 4])
}

/// Whether the property says so: present, not empty, its first byte not 0. What only fails for now says nothing, and is no
/// reason to take a weaker key.
pub(crate) fn is_isolated(key: &Key) -> Result<bool, KeyError> {
    match key.get(Property::VirtualIsolation) {
        Ok(value) => Ok(value.first().is_some_and(|first| *first != 0)),
        Err(status) if status.is_passing() => Err(Step::ReadIsolation.error(status, true)),
        Err(_) => Ok(false),
    }
}

/// Signs a digest that nobody uses: a name can open after its key is lost.
pub(crate) fn sign(key: &Key) -> Result<Vec<u8>, Status> {
    key.sign(SCHEME, &DIGEST)
}

/// Checks what [`sign`] signed against the key's own public half (SubjectPublicKeyInfo in DER).
pub(crate) fn check_signature(public_key: &[u8], signature: &[u8]) -> Result<(), KeyError> {
    if verify(public_key, SCHEME, &DIGEST, signature) {
        return Ok(());
    }
    Err(KeyError::new(
        KeyErrorKind::Failed,
        "the key's signature does not hold against its own public key",
    ))
}

const SCHEME: SignatureScheme = SignatureScheme::PssSha256;
const DIGEST: [u8; 32] = [0x5a; 32];
