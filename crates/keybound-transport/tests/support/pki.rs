//! Generated certificates.
use keybound_core::Certificate;
use keybound_keys::BindingKey;
use keybound_transport::ClientIdentity;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
};
use openssl::x509::{X509, X509Builder, X509Name};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A certificate authority.
#[derive(Clone)]
pub struct Authority {
    pub certificate: X509,
    key: PKey<Private>,
}

/// A server's certificate with its key.
#[derive(Clone)]
pub struct Leaf {
    pub certificate: X509,
    pub key: PKey<Private>,
    /// The intermediate certificates that the server sends.
    pub chain: Vec<X509>,
}

impl Leaf {
    /// Adds these authorities to the chain.
    pub fn with_chain(mut self, authorities: &[&Authority]) -> Self {
        self.chain = authorities
            .iter()
            .map(|authority| authority.certificate.clone())
            .collect();
        self
    }

    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = ec_key();
        let builder = builder(name, name, &key, -30, 3650);
        Self::signed(builder, key.clone(), &key)
    }

    /// An intermediate authority, issued by this one.
    pub fn intermediate(&self, name: &str) -> Self {
        let key = ec_key();
        let builder = builder(name, &self.name(), &key, -30, 3650);
        Self::signed(builder, key, &self.key)
    }

    fn signed(mut builder: X509Builder, key: PKey<Private>, by: &PKeyRef<Private>) -> Self {
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        let usage = KeyUsage::new()
            .critical()
            .key_cert_sign()
            .crl_sign()
            .build();
        builder.append_extension(constraints).unwrap();
        builder.append_extension(usage.unwrap()).unwrap();
        builder.sign(by, MessageDigest::sha256()).unwrap();
        Self {
            certificate: builder.build(),
            key,
        }
    }

    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    fn name(&self) -> String {
        let entry = self.certificate.subject_name().entries().next().unwrap();
        entry.data().to_string().unwrap()
    }

    /// A server certificate for a name or an address.
    pub fn server(&self, host: &str) -> Leaf {
        self.server_between(host, -1, 1)
    }

    /// Like [`server`](Self::server), valid from and to these days from now.
    pub fn server_between(&self, host: &str, from: i64, to: i64) -> Leaf {
        match host.parse::<std::net::IpAddr>() {
            Ok(_) => self.leaf(host, &[], &[host], from, to),
            Err(_) => self.leaf(host, &[host], &[], from, to),
        }
    }

    /// A server certificate with a common name and these subject alternative names; without any, there is no such extension.
    pub fn server_with_names(&self, common_name: &str, names: &[&str], addresses: &[&str]) -> Leaf {
        self.leaf(common_name, names, addresses, -1, 1)
    }

    fn leaf(&self, subject: &str, names: &[&str], addresses: &[&str], from: i64, to: i64) -> Leaf {
        let key = ec_key();
        let mut builder = builder(subject, &self.name(), &key, from, to);
        let mut alternative = SubjectAlternativeName::new();
        names.iter().for_each(|name| {
            alternative.dns(name);
        });
        addresses.iter().for_each(|address| {
            alternative.ip(address);
        });
        if !(names.is_empty() && addresses.is_empty()) {
            let alternative = alternative
                .build(&builder.x509v3_context(Some(&self.certificate), None))
                .unwrap();
            builder.append_extension(alternative).unwrap();
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Leaf {
            certificate: builder.build(),
            key,
            chain: vec![],
        }
    }

    /// Another certificate for the key of a server.
    pub fn reissued(&self, earlier: &Leaf, host: &str) -> Leaf {
        let mut builder = builder(host, &self.name(), &earlier.key, -1, 1);
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Leaf {
            certificate: builder.build(),
            ..earlier.clone()
        }
    }

    /// A certificate with a server's name, for clients only.
    pub fn for_clients_only(&self, host: &str) -> Leaf {
        let key = ec_key();
        let mut builder = builder(host, &self.name(), &key, -1, 1);
        let names = SubjectAlternativeName::new()
            .dns(host)
            .build(&builder.x509v3_context(Some(&self.certificate), None))
            .unwrap();
        builder.append_extension(names).unwrap();
        let usage = ExtendedKeyUsage::new().client_auth().build().unwrap();
        builder.append_extension(usage).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Leaf {
            certificate: builder.build(),
            key,
            chain: vec![],
        }
    }

    /// A certificate for a binding key.
    pub fn client(&self, name: &str, key: Arc<dyn BindingKey>) -> ClientIdentity {
        let public = PKey::public_key_from_der(key.public_key_der()).unwrap();
        let mut builder = builder(name, &self.name(), &public, -1, 1);
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let der = builder.build().to_der().unwrap();
        ClientIdentity::new(Certificate::from_der(&der).unwrap(), key).unwrap()
    }
}

/// A self-signed certificate.
pub fn self_signed(host: &str) -> Leaf {
    let authority = Authority::new(host);
    let mut leaf = authority.server(host);
    let mut builder = builder(host, host, &leaf.key, -1, 1);
    let names = SubjectAlternativeName::new()
        .dns(host)
        .build(&builder.x509v3_context(None, None))
        .unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&leaf.key, MessageDigest::sha256()).unwrap();
    leaf.certificate = builder.build();
    leaf
}

/// A self-signed certificate with an RSA key of 1024 bits.
pub fn weak(host: &str) -> Leaf {
    let key = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    let mut builder = builder(host, host, &key, -1, 1);
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    Leaf {
        certificate: builder.build(),
        key,
        chain: vec![],
    }
}

fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn builder<T: HasPublic>(
    subject: &str,
    issuer: &str,
    key: &PKeyRef<T>,
    from: i64,
    to: i64,
) -> X509Builder {
    static SERIAL: AtomicU32 = AtomicU32::new(1);
    let name = |text: &str| {
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, text).unwrap();
        name.build()
    };
    let serial = BigNum::from_u32(SERIAL.fetch_add(1, Ordering::Relaxed)).unwrap();
    let day = |days: i64| Asn1Time::from_unix(now() + days * 86400).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_issuer_name(&name(issuer)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&day(from)).unwrap();
    builder.set_not_after(&day(to)).unwrap();
    builder
}

#[expect(
    clippy::disallowed_methods,
    reason = "OpenSSL checks certificates against the wall clock"
)]
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}
