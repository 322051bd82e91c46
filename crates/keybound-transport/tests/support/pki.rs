//! Authorities that issue client identities.
use keybound_core::Certificate;
use keybound_keys::BindingKey;
use keybound_testing::CertificateBuilder;
pub use keybound_testing::{Authority, Leaf};
use keybound_transport::ClientIdentity;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use std::sync::Arc;

pub trait ClientIdentities {
    /// A certificate for a binding key.
    fn client(&self, name: &str, key: Arc<dyn BindingKey>) -> ClientIdentity;
}

impl ClientIdentities for Authority {
    fn client(&self, name: &str, key: Arc<dyn BindingKey>) -> ClientIdentity {
        let certificate = self.client_certificate(name, key.public_key_der());
        let certificate = Certificate::from_der(&certificate.to_der().unwrap()).unwrap();
        ClientIdentity::new(certificate, key).unwrap()
    }
}

/// A self-signed certificate with an RSA key of 1024 bits.
pub fn weak(host: &str) -> Leaf {
    let key = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    let certificate = CertificateBuilder::new(&key).subject(host).issuer(host);
    Leaf::new(certificate.sign(&key), key)
}
