//! Certificates for tests, with validities in days since 1970.
use keybound_core::Certificate;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509Builder, X509Extension, X509Name, X509NameBuilder};
use std::ops::Range;
use std::sync::LazyLock;

/// The CN of the issuer of managed identities' certificates.
pub(in super::super) const ISSUER: &str = "managedidentitysnissuer.login.microsoft.com";

/// A certificate for a public key, valid for the two weeks before a day.
pub(in super::super) fn certificate(
    public_key: &[u8],
    subject: &str,
    issuer: &str,
    day: i64,
) -> Certificate {
    certificate_from(public_key, subject, issuer, (day - 14).max(0)..day)
}

/// A certificate for a public key, valid for a range of days.
pub(in super::super) fn certificate_from(
    public_key: &[u8],
    subject: &str,
    issuer: &str,
    days: Range<i64>,
) -> Certificate {
    signed(builder(public_key, subject, issuer, days))
}

/// A certificate of [`ISSUER`] with the extension `token_not_after`, a day of January 1970.
pub(in super::super) fn certificate_with_token_end(
    public_key: &[u8],
    subject: &str,
    days: Range<i64>,
    token_not_after: u64,
) -> Certificate {
    let mut builder = builder(public_key, subject, ISSUER, days);
    builder.set_version(2).unwrap();
    let end = format!("\x18\x0f197001{:02}000000Z", token_not_after + 1);
    let oid = Asn1Object::from_str("1.3.6.1.4.1.311.90.2.1").unwrap();
    let value = Asn1OctetString::new_from_bytes(end.as_bytes()).unwrap();
    let extension = X509Extension::new_from_der(&oid, false, &value).unwrap();
    builder.append_extension(extension).unwrap();
    signed(builder)
}

fn builder(public_key: &[u8], subject: &str, issuer: &str, days: Range<i64>) -> X509Builder {
    let time = |day: i64| Asn1Time::from_unix(day * 86_400).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_issuer_name(&name(issuer)).unwrap();
    builder
        .set_pubkey(&PKey::public_key_from_der(public_key).unwrap())
        .unwrap();
    builder.set_not_before(&time(days.start)).unwrap();
    builder.set_not_after(&time(days.end)).unwrap();
    builder
}

fn signed(mut builder: X509Builder) -> Certificate {
    builder.sign(&ISSUER_KEY, MessageDigest::sha256()).unwrap();
    Certificate::from_der(&builder.build().to_der().unwrap()).unwrap()
}

fn name(common_name: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", common_name).unwrap();
    name.build()
}

static ISSUER_KEY: LazyLock<PKey<Private>> =
    LazyLock::new(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());
