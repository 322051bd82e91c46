//! Certificates for tests, with validities in days since 1970.
use keybound_core::Certificate;
use keybound_testing::{CertificateBuilder, shared_p256_key};
use std::ops::Range;
use std::time::{Duration, SystemTime};

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
    token_not_after: i64,
) -> Certificate {
    signed(builder(public_key, subject, ISSUER, days).token_not_after(time(token_not_after)))
}

fn builder(public_key: &[u8], subject: &str, issuer: &str, days: Range<i64>) -> CertificateBuilder {
    CertificateBuilder::for_public_key(public_key)
        .subject(subject)
        .issuer(issuer)
        .validity(time(days.start)..time(days.end))
}

fn time(day: i64) -> SystemTime {
    let day = u64::try_from(day).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400)
}

fn signed(builder: CertificateBuilder) -> Certificate {
    let certificate = builder.sign(shared_p256_key());
    Certificate::from_der(&certificate.to_der().unwrap()).unwrap()
}
