use crate::{BindingKey, GatedKey};
use keybound_core::{Certificate, Error, ErrorKind, Stage};
use std::sync::Arc;

/// A certificate with its key, which a TLS client presents.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    certificate: Certificate,
    key: Arc<dyn BindingKey>,
}

impl ClientIdentity {
    /// Combines a certificate and its key. A key without a [gate](BindingKey::gate) gets one, which all clones of the identity
    /// share: a key that hangs blocks one thread, regardless of the number of clients and connections.
    ///
    /// # Errors
    /// [`CertificateKeyMismatch`](ErrorKind::CertificateKeyMismatch) if the certificate is for another key.
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

    /// The same certificate, with a wrapper of the key.
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
