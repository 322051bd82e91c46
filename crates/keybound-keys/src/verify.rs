use crate::{BindingKey, KeyError, KeyErrorKind, SignatureScheme};
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::PKey;
use openssl::pkey_ctx::{PkeyCtx, PkeyCtxRef};
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;

/// Whether `signature` is the key's signature over `digest`. A malformed key or signature is none.
pub fn verify(public_key: &[u8], scheme: SignatureScheme, digest: &[u8], signature: &[u8]) -> bool {
    check(public_key, scheme, digest, signature).unwrap_or(false)
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

fn check(
    public_key: &[u8],
    scheme: SignatureScheme,
    digest: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let key = PKey::public_key_from_der(public_key)?;
    let mut context = PkeyCtx::new(&key)?;
    context.verify_init()?;
    set_scheme(&mut context, scheme)?;
    let held = context.verify(digest, signature);
    // A signature that does not hold leaves its reason on OpenSSL's queue, where the next call would find it.
    let _ = ErrorStack::get();
    Ok(held.unwrap_or(false))
}

/// Sets padding and hash on a context that has been started for signing or verifying.
pub(crate) fn set_scheme<T>(
    context: &mut PkeyCtxRef<T>,
    scheme: SignatureScheme,
) -> Result<(), ErrorStack> {
    let hash = match scheme {
        SignatureScheme::Pkcs1Sha256 | SignatureScheme::PssSha256 => Md::sha256(),
        SignatureScheme::Pkcs1Sha384 | SignatureScheme::PssSha384 => Md::sha384(),
        SignatureScheme::Pkcs1Sha512 | SignatureScheme::PssSha512 => Md::sha512(),
    };
    context.set_rsa_padding(if scheme.is_pss() {
        Padding::PKCS1_PSS
    } else {
        Padding::PKCS1
    })?;
    context.set_signature_md(hash)?;
    if scheme.is_pss() {
        context.set_rsa_mgf1_md(hash)?;
        context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
    }
    Ok(())
}
