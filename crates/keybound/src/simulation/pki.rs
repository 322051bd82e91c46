//! The issuer of the certificates: one key for all tests, of a kind that signs fast.
use super::test_host::CertificateRecord;
use der::Encode as _;
use der::asn1::GeneralizedTime;
use keybound_core::{Certificate, X5tS256};
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Extension, X509NameBuilder, X509NameRef, X509Req};
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

static ISSUER: LazyLock<PKey<Private>> = LazyLock::new(|| {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
});

/// A parsed certificate signing request.
pub(super) struct SigningRequest {
    request: X509Req,
    pub(super) public_key: Vec<u8>,
}

/// Parses a certificate signing request and verifies its signature.
pub(super) fn read(csr: &[u8]) -> Option<SigningRequest> {
    let request = X509Req::from_der(csr).ok()?;
    let key = request.public_key().ok()?;
    let public_key = key.public_key_to_der().ok()?;
    request.verify(&key).ok()?.then_some(SigningRequest {
        request,
        public_key,
    })
}

/// Issues a certificate for a request, valid from shortly before now.
pub(super) fn sign(
    request: &SigningRequest,
    holder: (String, Vec<u8>, bool),
    now: SystemTime,
    lifetimes: Lifetimes,
    number: u32,
) -> CertificateRecord {
    let not_before = now - BACKDATED;
    let not_after = not_before + lifetimes.certificate;
    let token_not_after = lifetimes.tokens.map(|life| not_before + life);
    let fields = CertificateFields {
        subject: request.request.subject_name(),
        issuer: ISSUER_NAME,
        public_key: &request.public_key,
        validity: not_before..not_after,
        token_not_after,
        number,
    };
    let der = fields.certificate().unwrap();
    CertificateRecord {
        thumbprint: X5tS256::of_der(&der).to_string(),
        der,
        holder,
        not_before,
        not_after,
        token_not_after,
    }
}

/// Returns a certificate that IMDS did not issue, with the key and the subject of one that it did.
pub(super) fn plant(
    original: &Certificate,
    issuer: &str,
    validity: Range<SystemTime>,
    token_not_after: Option<SystemTime>,
) -> Certificate {
    let original = X509::from_der(original.der()).unwrap();
    let public_key = original.public_key().unwrap().public_key_to_der().unwrap();
    let fields = CertificateFields {
        subject: original.subject_name(),
        issuer,
        public_key: &public_key,
        validity,
        token_not_after,
        number: 666,
    };
    Certificate::from_der(&fields.certificate().unwrap()).unwrap()
}

/// The lifetime of a certificate, and the time for which tokens are issued for it.
pub(super) struct Lifetimes {
    pub(super) certificate: Duration,
    pub(super) tokens: Option<Duration>,
}

/// The fields of a certificate.
struct CertificateFields<'a> {
    subject: &'a X509NameRef,
    issuer: &'a str,
    public_key: &'a [u8],
    validity: Range<SystemTime>,
    token_not_after: Option<SystemTime>,
    number: u32,
}

impl CertificateFields<'_> {
    fn certificate(&self) -> Result<Vec<u8>, ErrorStack> {
        let mut issuer = X509NameBuilder::new()?;
        issuer.append_entry_by_text("CN", self.issuer)?;
        let issuer = issuer.build();
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        let serial = BigNum::from_u32(self.number)?.to_asn1_integer()?;
        builder.set_serial_number(&serial)?;
        builder.set_subject_name(self.subject)?;
        builder.set_issuer_name(&issuer)?;
        let not_before = time(self.validity.start)?;
        let not_after = time(self.validity.end)?;
        builder.set_not_before(&not_before)?;
        builder.set_not_after(&not_after)?;
        builder.set_pubkey(&*PKey::public_key_from_der(self.public_key)?)?;
        if let Some(end) = self.token_not_after {
            let oid = Asn1Object::from_str("1.3.6.1.4.1.311.90.2.1")?;
            let value = Asn1OctetString::new_from_bytes(&generalized_time(end))?;
            builder.append_extension(X509Extension::new_from_der(&oid, false, &value)?)?;
        }
        builder.sign(&ISSUER, MessageDigest::sha256())?;
        builder.build().to_der()
    }
}

/// A GeneralizedTime in a SEQUENCE, as IMDS writes it.
fn generalized_time(time: SystemTime) -> Vec<u8> {
    let time = GeneralizedTime::from_system_time(time).unwrap();
    [time].to_vec().to_der().unwrap()
}

fn time(time: SystemTime) -> Result<Asn1Time, ErrorStack> {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Asn1Time::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// The CN of the issuer of managed identities' certificates.
pub(super) const ISSUER_NAME: &str = "managedidentitysnissuer.login.microsoft.com";
/// A client whose clock is slightly behind accepts the certificate.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
