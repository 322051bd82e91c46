//! Certificate authorities of test servers and their clients.
use crate::{CertificateBuilder, p256_key};
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslMethod};
use openssl::x509::X509;
use openssl::x509::extension::ExtendedKeyUsage;
use std::ops::Range;

/// A certificate authority.
#[derive(Clone)]
pub struct Authority(Leaf);

/// A certificate with its key.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "not published")]
pub struct Leaf {
    /// The certificate.
    pub certificate: X509,
    /// Its key.
    pub key: PKey<Private>,
    /// The intermediate certificates that a server sends.
    pub chain: Vec<X509>,
}

impl Authority {
    /// A root with this CN.
    pub fn new(name: &str) -> Self {
        let key = p256_key();
        let builder = CertificateBuilder::new(&key).issuer(name);
        let certificate = as_authority(builder, name).sign(&key);
        Self(Leaf::new(certificate, key))
    }

    /// An authority with this certificate and key.
    pub fn from_parts(certificate: X509, key: PKey<Private>) -> Self {
        Self(Leaf::new(certificate, key))
    }

    /// An intermediate authority, issued by this one.
    pub fn intermediate(&self, name: &str) -> Self {
        Self(self.issue(|builder| as_authority(builder, name)))
    }

    /// Its certificate.
    pub fn certificate(&self) -> &X509 {
        &self.0.certificate
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> Vec<u8> {
        self.0.pem()
    }

    /// A server certificate for a name or an address.
    pub fn server(&self, host: &str) -> Leaf {
        self.server_between(host, -1..1)
    }

    /// Like [`server`](Self::server), valid for these days from now.
    pub fn server_between(&self, host: &str, days: Range<i64>) -> Leaf {
        self.issue(|builder| builder.subject(host).hosts(&[host]).days(days))
    }

    /// A server certificate with a CN and these subject alternative names: DNS names, and addresses.
    pub fn server_with_names(&self, common_name: &str, names: &[&str], addresses: &[&str]) -> Leaf {
        self.issue(|builder| {
            builder
                .subject(common_name)
                .alternative_names(names, addresses)
        })
    }

    /// Another certificate for the key of a server.
    pub fn reissue(&self, earlier: &Leaf, host: &str) -> Leaf {
        let builder = CertificateBuilder::new(&earlier.key).subject(host);
        Leaf::new(self.sign(builder), earlier.key.clone())
    }

    /// A certificate with a server's name, for clients only.
    pub fn for_clients_only(&self, host: &str) -> Leaf {
        let usage = ExtendedKeyUsage::new().client_auth().build().unwrap();
        self.issue(|builder| builder.subject(host).hosts(&[host]).extension(usage))
    }

    /// A certificate for a new key.
    pub fn issue(&self, fields: impl FnOnce(CertificateBuilder) -> CertificateBuilder) -> Leaf {
        let key = p256_key();
        let certificate = self.sign(fields(CertificateBuilder::new(&key)));
        Leaf::new(certificate, key)
    }

    /// A certificate for a client's public key in DER.
    pub fn client_certificate(&self, name: &str, public_key: &[u8]) -> X509 {
        self.sign(CertificateBuilder::for_public_key(public_key).subject(name))
    }

    fn sign(&self, certificate: CertificateBuilder) -> X509 {
        certificate
            .issuer_name(self.0.certificate.subject_name())
            .sign(&self.0.key)
    }
}

fn as_authority(builder: CertificateBuilder, name: &str) -> CertificateBuilder {
    builder.subject(name).days(-30..3650).ca()
}

impl Leaf {
    /// A self-signed certificate for a name or an address.
    pub fn self_signed(host: &str) -> Self {
        let key = p256_key();
        let builder = CertificateBuilder::new(&key).subject(host).issuer(host);
        let certificate = builder.hosts(&[host]).sign(&key);
        Self::new(certificate, key)
    }

    /// A certificate with its key, without intermediate certificates.
    pub fn new(certificate: X509, key: PKey<Private>) -> Self {
        Self {
            certificate,
            key,
            chain: vec![],
        }
    }

    /// Adds these authorities to the chain.
    pub fn with_chain(mut self, authorities: &[&Authority]) -> Self {
        let certificates = authorities.iter().map(|authority| &authority.0.certificate);
        self.chain = certificates.cloned().collect();
        self
    }

    /// The certificate in PEM.
    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// The TLS settings of a server with this certificate.
    pub fn acceptor(&self) -> SslAcceptorBuilder {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate(&self.certificate).unwrap();
        acceptor.set_private_key(&self.key).unwrap();
        for certificate in &self.chain {
            acceptor.add_extra_chain_cert(certificate.clone()).unwrap();
        }
        acceptor
    }
}
