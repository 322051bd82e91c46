#[cfg(windows)]
use super::certificate::NativeCertificate;
use super::container::is_replaced;
use super::handle::Key;
use super::msal_certificate_cache::KeyPlace;
use super::status::Step;
use crate::{BindingKey, CngHandle, KeyError, KeyErrorKind, KeyStrength, SignatureScheme};
#[cfg(windows)]
use keybound_core::Certificate;
use keybound_core::X5tS256;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// An RSA-2048 key in Windows CNG. It signs; there is no way to its private half.
///
/// Signing is [slow](crate::SigningCost::Slow): every signature is made in another process, the secure kernel or the TPM.
pub struct CngKey {
    key: Arc<Key>,
    public_key: Vec<u8>,
    strength: KeyStrength,
    id: String,
    place: KeyPlace,
}

impl CngKey {
    pub(crate) fn new(
        key: Key,
        public_key: Vec<u8>,
        strength: KeyStrength,
        place: KeyPlace,
    ) -> Self {
        Self {
            key: Arc::new(key),
            id: format!("cng:{}", X5tS256::of_der(&public_key)),
            public_key,
            strength,
            place,
        }
    }
}

impl BindingKey for CngKey {
    fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        if digest.len() != scheme.digest_len() {
            return Err(KeyError::new(
                KeyErrorKind::Failed,
                "the digest is of another length than the scheme's hash",
            ));
        }
        self.key
            .sign(scheme, digest)
            .map_err(|status| Step::Sign.error(status, false))
    }

    fn strength(&self) -> KeyStrength {
        self.strength
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn persistent_name(&self) -> Option<&str> {
        Some(&self.place.name)
    }

    fn is_in_place(&self) -> bool {
        !is_replaced(self.key.api(), &self.place, &self.public_key)
    }

    #[allow(
        unsafe_code,
        reason = "lending the handle is the promise that it stays open"
    )]
    fn cng_handle(&self) -> Option<CngHandle> {
        let owner: Arc<dyn Any + Send + Sync> = Arc::clone(&self.key) as _;
        // SAFETY: the handle is open as long as the `Key` that goes along. Handles of CNG are bound to no thread, and functions
        // that change none of the same memory may run at once on one; signing and attesting change nothing of the key.
        // The borrower's calls are not serialised with those of `Key::sign`.
        Some(unsafe { CngHandle::new(self.key.raw(), owner) })
    }

    #[cfg(windows)]
    fn native_certificate(
        &self,
        certificate: &Certificate,
    ) -> Option<Result<NativeCertificate, KeyError>> {
        // Not the handle: SChannel cannot use one of this process, and opens the key by its name.
        Some(
            NativeCertificate::naming(certificate, &self.place).map_err(|error| {
                KeyError::new(
                    KeyErrorKind::Failed,
                    "windows does not bring the certificate and its key together",
                )
                .with_source(error)
            }),
        )
    }
}

impl fmt::Debug for CngKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CngKey")
            .field("id", &self.id)
            .field("strength", &self.strength)
            .field("name", &self.place.name)
            .finish_non_exhaustive()
    }
}
