//! Verification by OpenSSL.
use crate::SignatureScheme;
use crate::memory::set_scheme;
use crate::rsa_blob::public_blob;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::pkey_ctx::PkeyCtx;

/// Verifies a signature by a public key, which must be RSA-2048.
pub(crate) fn verify(
    public_key: &[u8],
    scheme: SignatureScheme,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    if public_blob(public_key).is_none() {
        return false;
    }
    let verified = try_verify(public_key, scheme, digest, signature);
    // An invalid signature leaves its reason on OpenSSL's error queue, where the next call would find it.
    let _ = ErrorStack::get();
    verified.unwrap_or(false)
}

fn try_verify(
    public_key: &[u8],
    scheme: SignatureScheme,
    digest: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let key = PKey::public_key_from_der(public_key)?;
    let mut context = PkeyCtx::new(&key)?;
    context.verify_init()?;
    set_scheme(&mut context, scheme)?;
    context.verify(digest, signature)
}
