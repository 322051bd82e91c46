//! Certificates for tests.
use keybound_core::Certificate;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509Builder, X509Name, X509NameBuilder};
use std::ops::Range;
use std::sync::LazyLock;

/// The CN of the issuer of managed identities' certificates.
pub(super) const ISSUER: &str = "managedidentitysnissuer.login.microsoft.com";

/// A certificate for a public key, from one CN for another, that ends that many days after 1970 and lives two weeks.
pub(super) fn certificate(public_key: &[u8], subject: &str, issuer: &str, day: i64) -> Certificate {
    certificate_from(public_key, subject, issuer, (day - 14).max(0)..day)
}

/// The same, with its first and its last day.
pub(super) fn certificate_from(
    public_key: &[u8],
    subject: &str,
    issuer: &str,
    days: Range<i64>,
) -> Certificate {
    let time = |day: i64| Asn1Time::from_unix(day * 86_400).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_issuer_name(&name(issuer)).unwrap();
    builder
        .set_pubkey(&PKey::public_key_from_der(public_key).unwrap())
        .unwrap();
    builder.set_not_before(&time(days.start)).unwrap();
    builder.set_not_after(&time(days.end)).unwrap();
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
