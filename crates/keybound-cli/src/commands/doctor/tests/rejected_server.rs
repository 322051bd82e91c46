//! A server whose certificate is rejected.
use super::super::token_endpoint::judge_error;
use super::assert_finding;
use crate::diagnosis::Level;
use keybound::tls::{TransportError, TransportErrorKind};
use keybound::{Certificate, Stage};
use keybound_testing::{CertificateBuilder, shared_p256_key};
use openssl::x509::X509;
use std::time::{Duration, SystemTime};

#[test]
fn says_in_words_which_certificate_is_rejected_and_why() {
    let many = ["a.example", "b.example", "c.example"];
    for (reason, certificate, part, next_step) in [
        (
            "certificate has expired",
            issued("proxy", "Corp CA", &[]),
            "expired at 2023-11-15T22:13:20Z, by this host's clock; it is CN=proxy, issued by CN=Corp CA",
            "check the clock",
        ),
        (
            "certificate is not yet valid",
            issued("proxy", "Corp CA", &[]),
            "is valid from 2023-11-14T22:13:20Z, later than this host's clock; it is CN=proxy",
            "check the clock",
        ),
        (
            "hostname mismatch",
            issued("proxy", "Corp CA", &many),
            "for a.example, b.example and 1 more, not for its own name; it is CN=proxy",
            "another server or a proxy",
        ),
        (
            "IP address mismatch",
            issued("proxy", "Corp CA", &["127.0.0.1", "::1"]),
            "for 127.0.0.1, ::1, not for",
            "--token-endpoint",
        ),
        (
            "hostname mismatch",
            issued("proxy", "Corp CA", &[]),
            "for no host, not for",
            "--token-endpoint",
        ),
        (
            "self-signed certificate in certificate chain",
            issued("Corp CA", "Corp CA", &[]),
            "self-signed certificate that is not trusted here: CN=Corp CA",
            "exempt the token endpoint from a proxy that inspects TLS",
        ),
        (
            "unable to get local issuer certificate",
            issued("proxy", "Corp CA", &[]),
            "an issuer that is not trusted here: CN=proxy, issued by CN=Corp CA",
            "(ca-certificates)",
        ),
        // The words for Windows.
        (
            "its authority is not trusted by windows",
            issued("proxy", "Corp CA", &[]),
            "not trusted here: CN=proxy",
            "exempt",
        ),
        (
            "certificate has expired or is not yet valid",
            issued("proxy", "Corp CA", &[]),
            "expired at",
            "check the clock",
        ),
        (
            "EE certificate key too weak",
            issued("proxy", "Corp CA", &[]),
            "the certificate of the token endpoint is not accepted",
            "exempt",
        ),
    ] {
        let error = TransportError::new(TransportErrorKind::ServerCertificate, reason);
        let certificate = Certificate::from_der(&certificate.to_der().unwrap()).unwrap();
        let error = error.with_rejected(Some(certificate)).at(Stage::Token);
        let finding = judge_error(error, false, SystemTime::UNIX_EPOCH);
        assert_finding(&finding, Level::Problem, part);
        let advice = finding.next_step.unwrap();
        assert!(advice.contains(next_step), "{reason}: {advice}");
        assert!(advice.len() < 294, "it is shown whole: {advice}");
    }
}

fn issued(subject: &str, issuer: &str, hosts: &[&str]) -> X509 {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let key = shared_p256_key();
    let builder = CertificateBuilder::new(key).subject(subject).issuer(issuer);
    let builder = builder.validity(start..start + Duration::from_secs(24 * 3600));
    match hosts {
        [] => builder.sign(key),
        hosts => builder.hosts(hosts).sign(key),
    }
}
