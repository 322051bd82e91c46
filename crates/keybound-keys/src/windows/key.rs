use super::handle::Key;
use super::key_prov_info::KeyProvInfo;
#[cfg(windows)]
use super::native_certificate::NativeCertificate;
use super::status::Step;
use crate::rsa_blob::public_key_info;
use crate::{BindingKey, CngHandle, KeyError, KeyStrength, SignatureScheme};
#[cfg(windows)]
use keybound_core::Certificate;
use keybound_core::X5tS256;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// An RSA-2048 key in Windows CNG. It signs, and its private part cannot be read.
///
/// Signing is [slow](crate::SigningCost::Slow): another process, the secure kernel or the TPM creates every signature.
pub struct CngKey {
    key: Arc<Key>,
    public_key: Vec<u8>,
    strength: KeyStrength,
    id: String,
    info: KeyProvInfo,
}

impl CngKey {
    pub(crate) fn new(
        key: Key,
        public_key: Vec<u8>,
        strength: KeyStrength,
        info: KeyProvInfo,
    ) -> Self {
        Self {
            key: Arc::new(key),
            id: format!("cng:{}", X5tS256::of_der(&public_key)),
            public_key,
            strength,
            info,
        }
    }
}

impl BindingKey for CngKey {
    fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        scheme.check_digest(digest)?;
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
        Some(&self.info.container)
    }

    fn is_current(&self) -> bool {
        match Key::open(self.key.api(), &self.info) {
            Ok(current) => current.export_public().map_or(true, |blob| {
                public_key_info(&blob).as_ref() == Some(&self.public_key)
            }),
            Err((step, status)) => step != Step::Open || !status.is_not_found(),
        }
    }

    #[allow(
        unsafe_code,
        reason = "lending the handle is the promise that it stays open"
    )]
    fn cng_handle(&self) -> Option<CngHandle> {
        let owner: Arc<dyn Any + Send + Sync> = Arc::clone(&self.key) as _;
        // SAFETY: the handle is open while its owner lives. CNG handles are not bound to a thread, and functions that do not
        // modify the same memory may run concurrently on one; signing and attesting do not modify the key. The borrower's
        // calls are not serialised with those of `Key::sign`.
        Some(unsafe { CngHandle::new(self.key.raw(), owner) })
    }

    #[cfg(windows)]
    fn native_certificate(
        &self,
        certificate: &Certificate,
    ) -> Option<Result<NativeCertificate, KeyError>> {
        // Without the handle: SChannel cannot use a handle of this process, and opens the key by its name.
        let context = NativeCertificate::without_key_handle(certificate, &self.info);
        Some(context.map_err(|error| {
            KeyError::new(
                crate::KeyErrorKind::Failed,
                "windows cannot associate the certificate with its key",
            )
            .with_source(error)
        }))
    }
}

impl fmt::Debug for CngKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CngKey")
            .field("id", &self.id)
            .field("strength", &self.strength)
            .field("name", &self.info.container)
            .finish_non_exhaustive()
    }
}
