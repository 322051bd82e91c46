//! Certificate authorities of one run, with RSA keys.
use keybound_testing::CertificateBuilder;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::X509;

pub struct Authority {
    key: PKey<Private>,
    certificate: X509,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = rsa();
        let certificate = CertificateBuilder::new(&key).subject(name).issuer(name);
        Self {
            certificate: certificate.ca().sign(&key),
            key,
        }
    }

    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("PEM")
    }

    /// Returns a new key and its certificate for this name, in PEM.
    pub fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = rsa();
        let certificate = CertificateBuilder::new(&key)
            .subject(name)
            .issuer_name(self.certificate.subject_name())
            .hosts(&[name])
            .sign(&self.key);
        (
            key.private_key_to_pem_pkcs8().expect("PEM"),
            certificate.to_pem().expect("PEM"),
        )
    }
}

fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key")
}
