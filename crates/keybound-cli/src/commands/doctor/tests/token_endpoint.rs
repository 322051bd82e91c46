//! The name, the connection and the certificate of the token endpoint.
use super::super::target::Target;
use super::super::token_endpoint::{
    Connection, Server, guessed, judge_error, judge_name, judge_server,
};
use super::{assert_finding, stale};
use crate::diagnosis::{Finding, Level};
use crate::session;
use keybound::tls::{TransportError, TransportErrorKind};
use keybound::{Certificate, Stage};
use keybound_testing::{CertificateBuilder, shared_p256_key};
use keybound_transport::{HttpsClient, HttpsSettings};
use std::io;
use std::time::{Duration, SystemTime};
use url::Url;

#[test]
fn judges_the_lookup_of_a_name() {
    let failed = || Err(io::Error::other("no such host"));
    let found = |ips: &[&str]| Ok(ips.iter().map(|ip| ip.parse().unwrap()).collect());
    let blocked = "is resolved to this host";
    for (name, found, level, part) in [
        (
            "a.example",
            found(&["192.0.2.1"]),
            Level::Ok,
            "a.example has 1 address",
        ),
        (
            "a.example",
            found(&["192.0.2.1", "2001:db8::1"]),
            Level::Ok,
            "2 addresses",
        ),
        ("a.example", found(&[]), Level::Problem, "no address"),
        (
            "a.example",
            failed(),
            Level::Problem,
            "cannot be resolved: no such host",
        ),
        (
            "a.example",
            Err(io::ErrorKind::TimedOut.into()),
            Level::Problem,
            "timed out",
        ),
        ("a.example", found(&["127.0.0.1"]), Level::Warning, blocked),
        ("a.example", found(&["0.0.0.0"]), Level::Warning, blocked),
        (
            "a.example",
            found(&["192.0.2.1", "::1"]),
            Level::Warning,
            blocked,
        ),
        (
            "localhost",
            found(&["127.0.0.1", "::1"]),
            Level::Ok,
            "2 addresses",
        ),
    ] {
        assert_finding(&judge_name(name, name, found), level, part);
    }
}

/// A program of this host may forward the connections: TLS shows that.
#[test]
fn connects_unless_the_name_has_no_address() {
    let url = Url::parse("https://127.0.0.1:1").unwrap();
    let connection = Connection {
        target: &Target::Url(url),
        allowed: Ok(()),
        proxied: Ok(false),
    };
    for (dns, level, part) in [
        (
            Finding::warning("to this host", "x"),
            Level::Problem,
            "no TLS connection",
        ),
        (
            Finding::problem("no address", "x"),
            Level::Skipped,
            "no known address",
        ),
    ] {
        let client = || Ok(HttpsClient::new(None, HttpsSettings::default())?);
        let connecting = connection.connect(&dns, client, Duration::from_secs(10));
        let connected = session::run_to_end(connecting);
        let (finding, _) = connected.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_finding(&finding, level, part);
    }
}

#[test]
fn judges_the_lifetime_of_the_servers_certificate() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let hours = |hours: u64| Some(now + Duration::from_secs(hours * 3600));
    for (not_after, level, part) in [
        (None, Level::Ok, "is accepted"),
        (hours(90 * 24), Level::Ok, "valid for 90 d 0 h"),
        (hours(72), Level::Ok, "valid for 3 d 0 h"),
        (hours(71), Level::Warning, "expires at 2027-01-18"),
        (
            Some(now - Duration::from_secs(1)),
            Level::Warning,
            "expires at",
        ),
    ] {
        let tls = Some("TLSv1.3 by OpenSSL".to_owned());
        let finding = judge_server(&Server { tls, not_after }, now);
        assert_finding(&finding, level, part);
    }
}

/// The lifetime of the certificate is checked too if the server requires one.
#[test]
fn judges_the_certificate_of_a_server_that_requires_one() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let key = shared_p256_key();
    for (hours, level, part) in [
        (100, Level::Ok, "valid for 4 d 4 h"),
        (10, Level::Warning, "expires at"),
    ] {
        let validity = now - Duration::from_secs(3600)..now + Duration::from_secs(hours * 3600);
        let certificate = CertificateBuilder::new(key).validity(validity).sign(key);
        let certificate = Certificate::from_der(&certificate.to_der().unwrap());
        let kind = TransportErrorKind::ClientCertificateRejected;
        let error = TransportError::new(kind, "why").with_server(certificate.ok());
        let finding = judge_error(error.at(Stage::Token), false, now);
        assert_finding(&finding, level, part);
        assert!(
            finding
                .detail
                .starts_with("the server requires a certificate")
        );
    }
}

#[test]
fn judges_failed_connections() {
    use TransportErrorKind::{ClientCertificateRejected, Connect, Proxy, Timeout, Tls};
    let now = SystemTime::UNIX_EPOCH;
    let public = Url::parse("https://mtlsauth.microsoft.com").unwrap();
    for (kind, message, proxied, part, next_step) in [
        (
            Connect,
            "refused",
            false,
            "no TLS connection",
            "check that the address",
        ),
        (
            Timeout,
            "late",
            false,
            "did not respond in time",
            "firewall, network security group",
        ),
        (
            Timeout,
            "late",
            true,
            "did not respond in time",
            "check that the proxy runs",
        ),
        (Tls, "why", false, "no TLS connection", ""),
        (
            Proxy,
            "the proxy p:1 rejected the credentials",
            true,
            "the proxy does not connect",
            "correct user and password",
        ),
        (
            Proxy,
            "the proxy p:1 requires credentials, and its URL has none",
            true,
            "the proxy does not connect",
            "correct user and password",
        ),
        (
            Proxy,
            "the proxy p:1 rejected the tunnel with status 403",
            true,
            "the proxy does not connect",
            "ask the owner of the proxy",
        ),
    ] {
        let error = TransportError::new(kind, message).at(Stage::Token);
        let finding = judge_error(error, proxied, now);
        assert_finding(&finding, Level::Problem, part);
        let advice = finding.next_step.as_deref().unwrap_or_default();
        assert!(advice.contains(next_step), "{message}: {advice}");
        // Whether this host uses an endpoint that IMDS did not name is not known.
        let finding = guessed(finding, &public);
        assert_finding(&finding, Level::Warning, part);
        let advice = finding.next_step.as_deref().unwrap_or_default();
        let guess = "nothing, if this host uses another endpoint than https://mtlsauth.microsoft.com (name it with --token-endpoint; keybound selftest -v shows it); otherwise";
        assert!(
            advice.starts_with(guess) && advice.contains(next_step),
            "{advice}"
        );
    }
    let rejected = TransportError::new(ClientCertificateRejected, "why").at(Stage::Token);
    let finding = judge_error(rejected, false, now);
    assert_finding(&finding, Level::Ok, "requires a certificate");
    // The handshake verified a certificate: the error is no error of TLS.
    let error = TransportError::new(TransportErrorKind::Protocol, "not http");
    let error = error.with_server(Some(stale("https://127.0.0.1").certificate));
    let finding = judge_error(error.at(Stage::Token), false, now);
    assert_finding(&finding, Level::Problem, "TLS works, but");
    let ok = guessed(Finding::ok("fine"), &public);
    assert_finding(&ok, Level::Ok, "fine");
}
