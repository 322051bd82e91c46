use super::errors::{unsupported, with_reason};
use super::library_context::LibraryContext;
use crate::{TransportError, TransportErrorKind};
use foreign_types::ForeignType as _;
use keybound_keys::{BindingKey, LastKeyError};
use keybound_provider::{KEY_PARAM, Key, PROPERTIES, Param, RegisteredKey};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use std::ptr::null_mut;
use std::sync::Arc;

/// An OpenSSL key of the provider, which signs with a [`BindingKey`]. Dropping the last copy of the OpenSSL key releases the
/// binding key.
pub(crate) struct ProviderKey {
    pkey: PKey<Private>,
    last_error: Arc<LastKeyError>,
}

impl ProviderKey {
    /// Creates a key, without a signature.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) if the host's OpenSSL configuration (such as FIPS
    /// only) does not allow the provider; [`Key`](TransportErrorKind::Key) if the public key is not RSA.
    pub(crate) fn new(
        library: &LibraryContext,
        signer: Arc<dyn BindingKey>,
    ) -> Result<Self, TransportError> {
        let public = Rsa::public_key_from_der(signer.public_key_der()).map_err(|errors| {
            let message = with_reason("the binding key is not an RSA key", &errors);
            TransportError::new(TransportErrorKind::Key, message)
        })?;
        let last_error = Arc::new(LastKeyError::default());
        let key = Arc::new(Key::new(
            public.n().to_vec(),
            public.e().to_vec(),
            signer,
            Arc::clone(&last_error),
        ));
        let pkey = generate(library, key).map_err(|errors| {
            unsupported(with_reason(
                "the host's OpenSSL configuration does not allow Keybound's provider",
                &errors,
            ))
        })?;
        check_signature_algorithm(library)?;
        Ok(Self { pkey, last_error })
    }

    pub(crate) fn pkey(&self) -> &PKeyRef<Private> {
        &self.pkey
    }

    /// The key's error, if it did not sign.
    pub(crate) fn last_error(&self) -> &Arc<LastKeyError> {
        &self.last_error
    }
}

/// Generates an OpenSSL key from a registration, by its handle. Other code cannot create one.
fn generate(library: &LibraryContext, key: Arc<Key>) -> Result<PKey<Private>, ErrorStack> {
    let mut handle = [0; 16];
    openssl::rand::rand_bytes(&mut handle)?;
    let registered = RegisteredKey::new(handle, key);
    generate_with(library, registered.handle())
}

fn generate_with(library: &LibraryContext, handle: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    let params = [Param::bytes(KEY_PARAM, handle), Param::END];
    // SAFETY: the parameters outlive the calls. The context is freed on all paths; the result owns the key.
    unsafe {
        let context = openssl_sys::EVP_PKEY_CTX_new_from_name(
            library.context(),
            c"RSA".as_ptr(),
            PROPERTIES.as_ptr(),
        );
        if context.is_null() {
            return Err(ErrorStack::get());
        }
        let mut pkey = null_mut();
        let is_generated = openssl_sys::EVP_PKEY_keygen_init(context) == 1
            && openssl_sys::EVP_PKEY_CTX_set_params(context, params.as_ptr().cast()) == 1
            && openssl_sys::EVP_PKEY_generate(context, &raw mut pkey) == 1;
        openssl_sys::EVP_PKEY_CTX_free(context);
        if !is_generated || pkey.is_null() {
            return Err(ErrorStack::get());
        }
        Ok(PKey::from_ptr(pkey))
    }
}

fn check_signature_algorithm(library: &LibraryContext) -> Result<(), TransportError> {
    // SAFETY: the context is alive, the strings are constants; the fetched algorithm is freed.
    unsafe {
        let algorithm = openssl_sys::EVP_SIGNATURE_fetch(
            library.context(),
            c"RSA".as_ptr(),
            PROPERTIES.as_ptr(),
        );
        if algorithm.is_null() {
            return Err(unsupported(with_reason(
                "the host's OpenSSL configuration does not allow Keybound's provider to sign",
                &ErrorStack::get(),
            )));
        }
        openssl_sys::EVP_SIGNATURE_free(algorithm);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::provider_name;
    use keybound_keys::memory::MemoryKey;
    use keybound_keys::{KeyError, KeyErrorKind, KeyStrength, SignatureScheme, verify};
    use keybound_testing::{TestKey, shared_key};
    use openssl::md::Md;
    use openssl::md_ctx::MdCtx;
    use openssl::pkey_ctx::PkeyCtx;
    use openssl::rsa::Padding;
    use openssl::sign::RsaPssSaltlen;

    type Sign = fn(&dyn BindingKey, SignatureScheme, &[u8]) -> Result<Vec<u8>, KeyError>;

    fn provider_key(signer: Arc<dyn BindingKey>) -> ProviderKey {
        ProviderKey::new(LibraryContext::get().unwrap(), signer).unwrap()
    }

    fn callback_key(sign: Sign) -> ProviderKey {
        let sign = move |scheme, digest: &[u8]| sign(&*shared_key(), scheme, digest);
        provider_key(Arc::new(TestKey::new().with_sign(sign)))
    }

    fn sign(
        pkey: &PKeyRef<Private>,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, ErrorStack> {
        let hash = match scheme.digest_len() {
            32 => Md::sha256(),
            48 => Md::sha384(),
            _ => Md::sha512(),
        };
        let mut context = MdCtx::new()?;
        let settings = context.digest_sign_init(Some(hash), pkey)?;
        if scheme.is_pss() {
            settings.set_rsa_padding(Padding::PKCS1_PSS)?;
            settings.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
            settings.set_rsa_mgf1_md(hash)?;
        }
        for piece in message.chunks(5) {
            context.digest_sign_update(piece)?;
        }
        let mut signature = vec![];
        context.digest_sign_final_to_vec(&mut signature)?;
        Ok(signature)
    }

    fn digest(scheme: SignatureScheme, message: &[u8]) -> Vec<u8> {
        match scheme.digest_len() {
            32 => openssl::sha::sha256(message).to_vec(),
            48 => openssl::sha::sha384(message).to_vec(),
            _ => openssl::sha::sha512(message).to_vec(),
        }
    }

    #[test]
    fn signs_with_all_schemes() {
        let key: Arc<dyn BindingKey> = Arc::new(MemoryKey::generate().unwrap());
        let provider_key = provider_key(Arc::clone(&key));
        for scheme in SCHEMES {
            for message in [&b""[..], b"a message in pieces"] {
                let signature = sign(provider_key.pkey(), scheme, message).unwrap();
                assert!(
                    verify(
                        key.public_key_der(),
                        scheme,
                        &digest(scheme, message),
                        &signature
                    ),
                    "{scheme:?}"
                );
            }
        }
        assert!(ErrorStack::get().errors().is_empty());
    }

    #[test]
    fn signs_digests() {
        let key: Arc<dyn BindingKey> = Arc::new(MemoryKey::generate().unwrap());
        let provider_key = provider_key(Arc::clone(&key));
        let mut context = PkeyCtx::new(provider_key.pkey()).unwrap();
        context.sign_init().unwrap();
        context.set_rsa_padding(Padding::PKCS1).unwrap();
        context.set_signature_md(Md::sha256()).unwrap();
        let digest = [7; 32];
        let mut signature = vec![];
        context.sign_to_vec(&digest, &mut signature).unwrap();
        let scheme = SignatureScheme::Pkcs1Sha256;
        assert!(verify(key.public_key_der(), scheme, &digest, &signature));
        assert!(context.sign_to_vec(&[7; 20], &mut vec![]).is_err());
    }

    #[test]
    fn rejects_unsupported_parameters() {
        let provider_key = provider_key(Arc::new(MemoryKey::generate().unwrap()));
        let mut context = MdCtx::new().unwrap();
        let settings = context.digest_sign_init(Some(Md::sha1()), provider_key.pkey());
        assert!(settings.is_err());
        let mut context = MdCtx::new().unwrap();
        let settings = context
            .digest_sign_init(Some(Md::sha256()), provider_key.pkey())
            .unwrap();
        assert!(settings.set_rsa_padding(Padding::NONE).is_err());
        settings.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        assert!(
            settings
                .set_rsa_pss_saltlen(RsaPssSaltlen::custom(20))
                .is_err()
        );
        assert!(settings.set_rsa_mgf1_md(Md::sha512()).is_err());
    }

    #[test]
    fn fails_where_the_key_fails_panics_or_returns_a_wrong_length() {
        let failing = callback_key(|_, _, _| Err(KeyError::new(KeyErrorKind::Failed, "no power")));
        let panicking = callback_key(|_, _, _| panic!("on purpose, in a test"));
        let short = callback_key(|_, _, _| Ok(vec![1; 255]));
        let long = callback_key(|_, _, _| Ok(vec![1; 257]));
        for (key, reason) in [
            (&failing, "the key did not sign"),
            (&panicking, "the key panicked while signing"),
            (&short, "the key's signature has a wrong length"),
            (&long, "the key's signature has a wrong length"),
        ] {
            let errors = sign(key.pkey(), SignatureScheme::PssSha256, b"x").unwrap_err();
            let reported = errors
                .errors()
                .iter()
                .find(|error| error.library() == Some(provider_name()));
            assert_eq!(reported.and_then(|error| error.reason()), Some(reason));
        }
        assert_eq!(failing.last_error().take().unwrap().to_string(), "no power");
        assert!(short.last_error().take().is_none());
    }

    #[test]
    fn releases_the_binding_key_with_the_last_copy() {
        let key: Arc<dyn BindingKey> = Arc::new(MemoryKey::generate().unwrap());
        let provider_key = provider_key(Arc::clone(&key));
        let copy = provider_key.pkey().to_owned();
        assert_eq!(Arc::strong_count(&key), 2);
        sign(&copy, SignatureScheme::PssSha256, b"x").unwrap();
        drop(provider_key);
        assert_eq!(Arc::strong_count(&key), 2);
        drop(copy);
        assert_eq!(Arc::strong_count(&key), 1);
    }

    #[test]
    fn key_never_exported_from_the_provider() {
        let key = MemoryKey::generate().unwrap();
        let public_key = key.public_key_der().to_vec();
        let provider_key = provider_key(Arc::new(key));
        let pkey = provider_key.pkey();
        assert!(pkey.private_key_to_der().is_err());
        assert!(pkey.private_key_to_pkcs8().is_err());
        assert!(pkey.private_key_to_pem_pkcs8().is_err());
        assert!(pkey.rsa().is_err());
        let _ = ErrorStack::get();
        // The public half is available.
        assert_eq!(pkey.public_key_to_der().unwrap(), public_key);
        assert_eq!((pkey.bits(), pkey.size()), (2048, 256));
    }

    #[test]
    fn distinguishes_keys() {
        let (one, other) = (
            MemoryKey::generate().unwrap(),
            MemoryKey::generate().unwrap(),
        );
        let public = |key: &MemoryKey| PKey::public_key_from_der(key.public_key_der()).unwrap();
        let (one_public, other_public) = (public(&one), public(&other));
        let one = provider_key(Arc::new(one));
        let other = provider_key(Arc::new(other));
        assert!(one.pkey().public_eq(&one_public));
        assert!(!one.pkey().public_eq(&other_public));
        assert!(!one.pkey().public_eq(other.pkey()));
        let _ = ErrorStack::get();
    }

    /// `openssl genpkey -pkeyopt hexkeybound-key:…` can set the parameter to any value.
    #[test]
    fn generates_registered_keys_only() {
        let library = LibraryContext::get().unwrap();
        let key = Arc::new(Key::new(
            vec![0x80; 256],
            vec![1, 0, 1],
            Arc::new(MemoryKey::generate().unwrap()),
            Arc::default(),
        ));
        let address = std::ptr::from_ref(&key).addr().to_ne_bytes();
        for handle in [&address[..], &[0x41; 8], &[0x41; 16], &[], &[0; 100]] {
            assert!(generate_with(library, handle).is_err(), "{handle:?}");
        }
        let registered = RegisteredKey::new([7; 16], Arc::clone(&key));
        for handle in [&[7; 15][..], &[7; 17], &[8; 16]] {
            assert!(generate_with(library, handle).is_err(), "{handle:?}");
        }
        assert!(generate_with(library, registered.handle()).is_ok());
        drop(registered);
        assert!(generate_with(library, &[7; 16]).is_err());
        assert_eq!(Arc::strong_count(&key), 1);
    }

    #[test]
    fn rejects_keys_other_than_rsa() {
        #[derive(Debug)]
        struct NoRsa;
        impl BindingKey for NoRsa {
            fn public_key_der(&self) -> &[u8] {
                b"\x30\x03\x02\x01\x00"
            }
            fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
                Ok(vec![])
            }
            fn strength(&self) -> KeyStrength {
                KeyStrength::Software
            }
            fn id(&self) -> &'static str {
                "none"
            }
        }
        let rejected = ProviderKey::new(LibraryContext::get().unwrap(), Arc::new(NoRsa));
        assert_eq!(
            rejected.err().map(|error| error.kind()),
            Some(TransportErrorKind::Key)
        );
    }

    const SCHEMES: [SignatureScheme; 6] = [
        SignatureScheme::Pkcs1Sha256,
        SignatureScheme::Pkcs1Sha384,
        SignatureScheme::Pkcs1Sha512,
        SignatureScheme::PssSha256,
        SignatureScheme::PssSha384,
        SignatureScheme::PssSha512,
    ];
}
