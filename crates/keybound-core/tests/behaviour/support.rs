//! A certificate authority, keys and tokens for tests.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use der::Encode as _;
use der::asn1::GeneralizedTime;
use keybound_core::{Certificate, Guid};
use keybound_keys::BindingKey as _;
use keybound_keys::memory::MemoryKey;
use keybound_testing::CertificateBuilder;
use openssl::asn1::Asn1Type;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509Name, X509NameRef};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

pub const CLIENT: &str = "1A1a1111-1111-1111-1111-11111111111B";
pub const TENANT: &str = "2A2a2222-2222-2222-2222-22222222222B";
pub const OTHER: &str = "3A3a3333-3333-3333-3333-33333333333B";
pub const MANAGED_IDENTITY_ISSUER: &str = "managedidentitysnissuer.login.microsoft.com";
/// The current time of every test, in seconds since 1970.
pub const NOW: u64 = 1_780_000_000;

/// The binding key of every test.
pub static KEY: LazyLock<MemoryKey> = LazyLock::new(|| MemoryKey::generate().unwrap());

static AUTHORITY: LazyLock<PKey<Private>> =
    LazyLock::new(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());

pub fn client() -> Guid {
    Guid::parse(CLIENT).unwrap()
}

pub fn tenant() -> Guid {
    Guid::parse(TENANT).unwrap()
}

/// The time of these seconds since 1970.
pub fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A certificate as IMDS issues it: for [`KEY`], valid for seven days from [`NOW`].
pub struct Issue {
    pub names: Vec<(Nid, Asn1Type, String)>,
    pub public_key: Vec<u8>,
    /// The issuer's CN; none if empty.
    pub issuer: String,
    pub not_before: u64,
    pub not_after: u64,
    pub comment_length: usize,
    /// Object identifiers and values, none critical.
    pub extensions: Vec<(&'static str, Vec<u8>)>,
}

impl Default for Issue {
    fn default() -> Self {
        Self {
            names: vec![
                (Nid::DOMAINCOMPONENT, Asn1Type::IA5STRING, TENANT.into()),
                (Nid::COMMONNAME, Asn1Type::PRINTABLESTRING, CLIENT.into()),
            ],
            public_key: KEY.public_key_der().to_vec(),
            issuer: MANAGED_IDENTITY_ISSUER.to_owned(),
            not_before: NOW - 3600,
            not_after: NOW + 7 * 24 * 3600,
            comment_length: 0,
            extensions: vec![],
        }
    }
}

impl Issue {
    /// The DER of the certificate.
    pub fn der(&self) -> Vec<u8> {
        let issuer = [(Nid::COMMONNAME, Asn1Type::UTF8STRING, self.issuer.clone())];
        let issuer = if self.issuer.is_empty() {
            &[][..]
        } else {
            &issuer
        };
        let mut certificate = CertificateBuilder::for_public_key(&self.public_key)
            .serial(0x7001)
            .issuer_name(&name(issuer))
            .subject_name(&name(&self.names))
            .validity(at(self.not_before)..at(self.not_after));
        if self.comment_length > 0 {
            let comment = comment(&"x".repeat(self.comment_length));
            certificate = certificate.extension_with("2.16.840.1.113730.1.13", &comment);
        }
        for (oid, value) in &self.extensions {
            certificate = certificate.extension_with(oid, value);
        }
        certificate.sign(&AUTHORITY).to_der().unwrap()
    }

    pub fn certificate(&self) -> Certificate {
        Certificate::from_der(&self.der()).unwrap()
    }
}

fn name(parts: &[(Nid, Asn1Type, String)]) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    for (nid, kind, text) in parts {
        name.append_entry_by_nid_with_type(*nid, text, *kind)
            .unwrap();
    }
    let name = name.build();
    assert_eq!(X509NameRef::entries(&name).count(), parts.len());
    name
}

/// The Netscape comment: text of any length without meaning.
fn comment(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0x16, 0x82], &length[..], text.as_bytes()].concat()
}

/// A time as a GeneralizedTime in DER.
pub fn generalized_time(seconds: u64) -> Vec<u8> {
    GeneralizedTime::from_system_time(at(seconds))
        .and_then(|time| time.to_der())
        .unwrap()
}

/// A JWT with these claims and an invalid signature.
pub fn jwt(claims: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.{}",
        encode(r#"{"alg":"RS256","typ":"JWT"}"#),
        encode(claims),
        encode("signature")
    )
}
