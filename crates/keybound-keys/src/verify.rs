use crate::{BindingKey, KeyError, KeyErrorKind, SignatureScheme};
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::PKey;
use openssl::pkey_ctx::{PkeyCtx, PkeyCtxRef};
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;

/// Whether `signature` is the signature over `digest` of an RSA key (SubjectPublicKeyInfo in DER). A malformed key,
/// one of another kind, a digest of another length or a malformed signature is none. The salt of PSS has to be exactly
/// as long as the digest.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyStrength;
    use crate::memory::MemoryKey;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;

    const SCHEME: SignatureScheme = SignatureScheme::PssSha256;
    const DIGEST: [u8; 32] = [7; 32];

    /// A key whose signatures are another key's: a container that was overwritten.
    #[derive(Debug)]
    struct Torn(MemoryKey, MemoryKey);

    impl BindingKey for Torn {
        fn public_key_der(&self) -> &[u8] {
            self.0.public_key_der()
        }
        fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.1.sign(scheme, digest)
        }
        fn strength(&self) -> KeyStrength {
            self.0.strength()
        }
        fn id(&self) -> &str {
            self.0.id()
        }
    }

    #[test]
    fn a_key_that_signs_passes_and_one_that_is_torn_does_not() {
        let key = MemoryKey::generate().unwrap();
        self_test(&key).unwrap();
        let torn = Torn(key, MemoryKey::generate().unwrap());
        let error = self_test(&torn).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Failed);
        assert!(ErrorStack::get().errors().is_empty());
    }

    #[test]
    fn a_signature_holds_for_its_scheme_digest_and_key_only() {
        let key = MemoryKey::generate().unwrap();
        let public = key.public_key_der();
        let signature = key.sign(SCHEME, &DIGEST).unwrap();
        assert!(verify(public, SCHEME, &DIGEST, &signature));
        let other = MemoryKey::generate().unwrap();
        assert!(!verify(other.public_key_der(), SCHEME, &DIGEST, &signature));
        assert!(!verify(
            public,
            SignatureScheme::Pkcs1Sha256,
            &DIGEST,
            &signature
        ));
        assert!(!verify(
            public,
            SignatureScheme::PssSha384,
            &[7; 48],
            &signature
        ));
        for position in [0, 100, 255] {
            let mut changed = signature.clone();
            changed[position] ^= 1;
            assert!(!verify(public, SCHEME, &DIGEST, &changed));
        }
        for wrong in [&signature[1..], &[0; 256], &[0xff; 256], &[0; 1000], &[]] {
            assert!(!verify(public, SCHEME, &DIGEST, wrong));
        }
    }

    #[test]
    fn digests_of_another_length_hold_for_nothing() {
        let key = MemoryKey::generate().unwrap();
        let signature = key.sign(SCHEME, &DIGEST).unwrap();
        for length in [0, 20, 31, 33, 64] {
            let digest = vec![7; length];
            assert!(!verify(key.public_key_der(), SCHEME, &digest, &signature));
        }
    }

    #[test]
    fn what_is_no_rsa_key_verifies_nothing_and_the_error_queue_is_left_clean() {
        let key = MemoryKey::generate().unwrap();
        let signature = key.sign(SCHEME, &DIGEST).unwrap();
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let elliptic = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
        let elliptic = elliptic.public_key_to_der().unwrap();
        let public = key.public_key_der();
        for public in [&elliptic[..], b"garbage", &[], &public[..200]] {
            assert!(!verify(public, SCHEME, &DIGEST, &signature));
            assert!(ErrorStack::get().errors().is_empty());
        }
        for signature in [&signature[..], b"garbage"] {
            verify(public, SCHEME, &DIGEST, signature);
            assert!(ErrorStack::get().errors().is_empty());
        }
    }
}
