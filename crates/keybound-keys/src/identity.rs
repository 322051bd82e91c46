use crate::{BindingKey, GatedKey};
use keybound_core::{Certificate, Error, ErrorKind, Stage};
use std::sync::Arc;

/// A certificate and the key that it certifies: what a TLS client presents.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    certificate: Certificate,
    key: Arc<dyn BindingKey>,
}

impl ClientIdentity {
    /// Pairs them. A key without a [gate](BindingKey::gate) gets one, which all clones of the identity share: one that
    /// hangs costs one thread, however many clients and set-ups are made with it.
    ///
    /// # Errors
    /// [`CertificateKeyMismatch`](ErrorKind::CertificateKeyMismatch) where the certificate is for another key.
    pub fn new(certificate: Certificate, key: Arc<dyn BindingKey>) -> Result<Self, Error> {
        if certificate.check_key(key.public_key_der()).is_err() {
            return Err(Error::new(
                ErrorKind::CertificateKeyMismatch,
                Stage::Credential,
                "the certificate is for another key",
            ));
        }
        let key = GatedKey::wrap(key);
        Ok(Self { certificate, key })
    }

    /// The same certificate, and a key that wraps the key of this identity.
    #[must_use]
    pub fn map_key(&self, wrap: impl FnOnce(Arc<dyn BindingKey>) -> Arc<dyn BindingKey>) -> Self {
        Self {
            certificate: self.certificate.clone(),
            key: wrap(Arc::clone(&self.key)),
        }
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key.
    pub fn key(&self) -> &Arc<dyn BindingKey> {
        &self.key
    }
}
