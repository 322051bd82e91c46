//! Keys of OpenSSL that sign through a [`BindingKey`].
use super::library::{Library, reason, unsupported};
use super::provider::{KEY_PARAM, Key, KeyFailures, PROPERTIES, Param};
use crate::{TransportError, TransportErrorKind};
use foreign_types::ForeignType as _;
use keybound_keys::BindingKey;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use std::ptr::null_mut;
use std::sync::Arc;

/// An OpenSSL key whose signatures come from a [`BindingKey`], which it owns: the last copy of the OpenSSL key frees its
/// hold on the binding key.
pub(crate) struct BridgedKey {
    pkey: PKey<Private>,
    failures: Arc<KeyFailures>,
}

impl BridgedKey {
    /// Makes one. The key is not asked for a signature.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) where the host's OpenSSL configuration (FIPS only, for
    /// one) does not let the bridge be used; [`Key`](TransportErrorKind::Key) where the public key is not RSA.
    pub(crate) fn new(library: &Library, signer: Arc<dyn BindingKey>) -> Result<Self, TransportError> {
        let public = Rsa::public_key_from_der(signer.public_key_der()).map_err(|error| {
            TransportError::new(TransportErrorKind::Key, "the binding key is not an RSA key")
                .with_source(error)
        })?;
        let failures = Arc::new(KeyFailures::default());
        let key = Arc::new(Key::new(
            public.n().to_vec(),
            public.e().to_vec(),
            signer,
            Arc::clone(&failures),
        ));
        let pkey = generate(library, &key).map_err(|errors| {
            unsupported(reason(
                "the host's OpenSSL configuration does not let the key bridge be used",
                &errors,
            ))
        })?;
        check_signature_algorithm(library)?;
        Ok(Self { pkey, failures })
    }

    pub(crate) fn pkey(&self) -> &PKeyRef<Private> {
        &self.pkey
    }

    /// Where the key's own words go when it does not sign.
    pub(crate) fn failures(&self) -> &Arc<KeyFailures> {
        &self.failures
    }
}

/// "Generates" an OpenSSL key around ours: the only way in that takes a pointer and is open to nobody else.
fn generate(library: &Library, key: &Arc<Key>) -> Result<PKey<Private>, ErrorStack> {
    let params = [Param::reference(KEY_PARAM, key), Param::END];
    // SAFETY: the parameters live through the calls, and `keymgmt` reads the reference as the type it has here. The
    // context is freed on every way out, the key is taken over.
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
        let made = openssl_sys::EVP_PKEY_keygen_init(context) == 1
            && openssl_sys::EVP_PKEY_CTX_set_params(context, params.as_ptr().cast()) == 1
            && openssl_sys::EVP_PKEY_generate(context, &raw mut pkey) == 1;
        openssl_sys::EVP_PKEY_CTX_free(context);
        if !made || pkey.is_null() {
            return Err(ErrorStack::get());
        }
        Ok(PKey::from_ptr(pkey))
    }
}

fn check_signature_algorithm(library: &Library) -> Result<(), TransportError> {
    // SAFETY: the context is alive, the strings are constants; what is fetched is freed.
    unsafe {
        let algorithm = openssl_sys::EVP_SIGNATURE_fetch(
            library.context(),
            c"RSA".as_ptr(),
            PROPERTIES.as_ptr(),
        );
        if algorithm.is_null() {
            return Err(unsupported(reason(
                "the host's OpenSSL configuration does not let the key bridge sign",
                &ErrorStack::get(),
            )));
        }
        openssl_sys::EVP_SIGNATURE_free(algorithm);
    }
    Ok(())
}
