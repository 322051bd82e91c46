//! Keys in the memory of the process, of software strength. They live as long as their value and are never exported;
//! OpenSSL zeroizes them when they are freed.
//!
//! On Windows this module requires the feature `openssl-vendored`; `windows` has software keys in CNG.
use crate::{
    BindingKey, KeyError, KeyErrorKind, KeyProvider, KeyStrength, SignatureScheme, SigningCost,
};
use keybound_core::X5tS256;
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::{PkeyCtx, PkeyCtxRef};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::RsaPssSaltlen;
use std::fmt;
use std::sync::Arc;

/// Creates a new RSA-2048 key in memory at each call.
#[derive(Debug, Default)]
pub struct MemoryKeyProvider(());

impl MemoryKeyProvider {
    /// A provider of keys in memory.
    pub fn new() -> Self {
        Self::default()
    }
}

impl KeyProvider for MemoryKeyProvider {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        Ok(Arc::new(MemoryKey::generate()?))
    }
}

/// An RSA-2048 key in memory.
pub struct MemoryKey {
    key: PKey<Private>,
    public_key: Vec<u8>,
    id: String,
}

impl MemoryKey {
    /// Generates a key with exponent 65537, within tens to hundreds of milliseconds.
    ///
    /// # Errors
    /// [`KeyErrorKind::Failed`] if OpenSSL fails.
    pub fn generate() -> Result<Self, KeyError> {
        let generate = || -> Result<(PKey<Private>, Vec<u8>), ErrorStack> {
            let key = PKey::from_rsa(Rsa::generate(2048)?)?;
            let public_key = key.public_key_to_der()?;
            Ok((key, public_key))
        };
        let (key, public_key) = generate().map_err(|error| {
            KeyError::new(KeyErrorKind::Failed, "no RSA-2048 key could be generated")
                .with_source(error)
        })?;
        let id = format!("memory:{}", X5tS256::of_der(&public_key));
        Ok(Self {
            key,
            public_key,
            id,
        })
    }

    fn signature(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let mut context = PkeyCtx::new(&self.key)?;
        context.sign_init()?;
        set_scheme(&mut context, scheme)?;
        let mut signature = Vec::new();
        context.sign_to_vec(digest, &mut signature)?;
        Ok(signature)
    }
}

impl BindingKey for MemoryKey {
    fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        scheme.check_digest(digest)?;
        self.signature(scheme, digest).map_err(|error| {
            KeyError::new(KeyErrorKind::Failed, "the key in memory did not sign").with_source(error)
        })
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn signing_cost(&self) -> SigningCost {
        SigningCost::Quick
    }
}

impl fmt::Debug for MemoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Sets padding and hash of a context that is initialized for signing or verifying.
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
    use crate::verify;

    const SCHEMES: [SignatureScheme; 6] = [
        SignatureScheme::Pkcs1Sha256,
        SignatureScheme::Pkcs1Sha384,
        SignatureScheme::Pkcs1Sha512,
        SignatureScheme::PssSha256,
        SignatureScheme::PssSha384,
        SignatureScheme::PssSha512,
    ];

    #[test]
    fn signs_and_verifies_in_every_scheme() {
        let key = MemoryKey::generate().unwrap();
        for scheme in SCHEMES {
            let digest = vec![7; scheme.digest_len()];
            let signature = key.sign(scheme, &digest).unwrap();
            assert!(
                verify(key.public_key_der(), scheme, &digest, &signature),
                "{scheme:?}"
            );
            let other = vec![8; scheme.digest_len()];
            assert!(
                !verify(key.public_key_der(), scheme, &other, &signature),
                "{scheme:?}"
            );
            assert!(
                !verify(key.public_key_der(), scheme, &digest, b"garbage"),
                "{scheme:?}"
            );
        }
    }

    #[test]
    fn rejects_digests_of_the_wrong_length() {
        let key = MemoryKey::generate().unwrap();
        for scheme in SCHEMES {
            assert!(key.sign(scheme, &[0; 20]).is_err(), "{scheme:?}");
        }
    }

    #[test]
    fn generated_keys_and_their_ids_differ() {
        let keys = [
            MemoryKey::generate().unwrap(),
            MemoryKey::generate().unwrap(),
        ];
        assert_ne!(keys[0].public_key_der(), keys[1].public_key_der());
        assert_ne!(keys[0].id(), keys[1].id());
        assert_eq!(keys[0].id(), keys[0].id());
        assert!(keys[0].id().starts_with("memory:"));
    }

    #[test]
    fn generates_rsa_2048_of_software_strength() {
        let key = MemoryKey::generate().unwrap();
        let public = PKey::public_key_from_der(key.public_key_der()).unwrap();
        let public = public.rsa().unwrap();
        assert_eq!(public.n().num_bits(), 2048);
        assert_eq!(public.e().to_string(), "65537");
        assert_eq!(key.strength(), KeyStrength::Software);
        assert_eq!(key.signing_cost(), SigningCost::Quick);
        assert!(!key.is_simulated() && key.attestation_evidence().is_none());
    }

    #[test]
    fn pss_signatures_are_randomized_and_pkcs1_signatures_are_not() {
        let key = MemoryKey::generate().unwrap();
        for scheme in SCHEMES {
            let digest = vec![7; scheme.digest_len()];
            let signatures = [(); 2].map(|()| key.sign(scheme, &digest).unwrap());
            assert_eq!(
                signatures[0] != signatures[1],
                scheme.is_pss(),
                "{scheme:?}"
            );
            assert_eq!(signatures[0].len(), 256, "{scheme:?}");
        }
    }

    #[test]
    fn threads_sign_concurrently_with_one_key() {
        let key = MemoryKey::generate().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let key = &key;
                scope.spawn(move || {
                    for _ in 0..8 {
                        let digest = [thread; 32];
                        let scheme = SignatureScheme::PssSha256;
                        let signature = key.sign(scheme, &digest).unwrap();
                        assert!(verify(key.public_key_der(), scheme, &digest, &signature));
                    }
                });
            }
        });
    }

    #[test]
    fn signing_leaves_the_error_queue_empty() {
        let key = MemoryKey::generate().unwrap();
        key.sign(SignatureScheme::PssSha256, &[0; 32]).unwrap();
        assert!(ErrorStack::get().errors().is_empty());
        key.sign(SignatureScheme::PssSha256, &[0; 31]).unwrap_err();
        assert!(ErrorStack::get().errors().is_empty());
    }

    #[test]
    fn key_never_exported_by_debug() {
        let key = MemoryKey::generate().unwrap();
        let private = key.key.private_key_to_der().unwrap();
        let formatted = format!("{key:?} {:?}", key.id());
        assert!(formatted.len() < 200);
        assert!(
            !formatted
                .as_bytes()
                .windows(16)
                .any(|window| private.windows(16).any(|key| key == window))
        );
    }
}
