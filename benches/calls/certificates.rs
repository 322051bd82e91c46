//! Certificate authorities of one run.
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

pub struct Authority {
    name: X509Name,
    key: PKey<Private>,
    certificate: X509,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let (name, key) = (common_name(name), rsa());
        let mut builder = builder(&name, &name, &public(&key));
        let basic = BasicConstraints::new().critical().ca().build();
        builder
            .append_extension(basic.expect("an extension"))
            .expect("an extension");
        builder
            .sign(&key, MessageDigest::sha256())
            .expect("a certificate");
        Self {
            name,
            key,
            certificate: builder.build(),
        }
    }

    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("PEM")
    }

    /// Returns a new key and its certificate for this name, in PEM.
    pub fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = rsa();
        let mut builder = builder(&common_name(name), &self.name, &public(&key));
        let names = SubjectAlternativeName::new()
            .dns(name)
            .build(&builder.x509v3_context(Some(&self.certificate), None));
        builder
            .append_extension(names.expect("an extension"))
            .expect("an extension");
        builder
            .sign(&self.key, MessageDigest::sha256())
            .expect("a certificate");
        (
            key.private_key_to_pem_pkcs8().expect("PEM"),
            builder.build().to_pem().expect("PEM"),
        )
    }
}

fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key")
}

fn public(key: &PKeyRef<Private>) -> PKey<Public> {
    let der = key.public_key_to_der().expect("a key");
    PKey::public_key_from_der(&der).expect("a key")
}

fn common_name(name: &str) -> X509Name {
    let mut builder = X509Name::builder().expect("a name");
    builder
        .append_entry_by_nid(Nid::COMMONNAME, name)
        .expect("a name");
    builder.build()
}

fn builder(subject: &X509Name, issuer: &X509Name, key: &PKeyRef<Public>) -> X509Builder {
    let fill = || -> Result<X509Builder, openssl::error::ErrorStack> {
        let mut serial = BigNum::new()?;
        serial.rand(64, MsbOption::MAYBE_ZERO, false)?;
        let (serial, from, to) = (
            serial.to_asn1_integer()?,
            Asn1Time::days_from_now(0)?,
            Asn1Time::days_from_now(1)?,
        );
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(&serial)?;
        builder.set_subject_name(subject)?;
        builder.set_issuer_name(issuer)?;
        builder.set_pubkey(key)?;
        builder.set_not_before(&from)?;
        builder.set_not_after(&to)?;
        Ok(builder)
    };
    fill().expect("a certificate")
}
