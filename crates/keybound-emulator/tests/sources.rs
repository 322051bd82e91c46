//! The sources of bearer tokens over sockets, through the public API: their environments, TLS, and the vault.
#![expect(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

use keybound_emulator::{Config, Emulator, Source};
use openssl::hash::MessageDigest;
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::X509;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Sends a GET request and returns status, headers and body.
fn get(url: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, target) = rest.split_at(rest.find('/').unwrap());
    match scheme {
        "http" => exchange(TcpStream::connect(authority).unwrap(), target, headers),
        _ => exchange(tls(authority), target, headers),
    }
}

fn exchange(
    mut stream: impl Read + Write,
    target: &str,
    headers: &[(&str, &str)],
) -> (u16, String, String) {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream
        .write_all(format!("{request}\r\n").as_bytes())
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// A connection whose certificate is not verified.
fn tls(authority: &str) -> SslStream<TcpStream> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let stream = TcpStream::connect(authority).unwrap();
    connector.build().connect("localhost", stream).unwrap()
}

fn thumbprint(certificate: &X509) -> String {
    let hash = certificate.digest(MessageDigest::sha1()).unwrap();
    hash.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn presented(emulator: &Emulator) -> X509 {
    let (_, authority) = emulator.ready().service_fabric.split_once("://").unwrap();
    tls(authority).ssl().peer_certificate().unwrap()
}

const QUERY: &str = "?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";

#[test]
fn each_source_has_the_variables_by_which_clients_detect_it() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let ready = emulator.ready();
    let common: BTreeSet<_> = ready.env.keys().copied().collect();
    for (source, variables) in [
        ("imds", "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        (
            "app-service",
            "IDENTITY_ENDPOINT IDENTITY_HEADER MSI_ENDPOINT MSI_SECRET",
        ),
        (
            "container-apps",
            "IDENTITY_ENDPOINT IDENTITY_HEADER MSI_ENDPOINT MSI_SECRET",
        ),
        (
            "service-fabric",
            "IDENTITY_ENDPOINT IDENTITY_HEADER IDENTITY_SERVER_THUMBPRINT",
        ),
        ("arc", "IDENTITY_ENDPOINT IMDS_ENDPOINT"),
        (
            "machine-learning",
            "DEFAULT_IDENTITY_CLIENT_ID MSI_ENDPOINT MSI_SECRET",
        ),
        ("cloud-shell", "MSI_ENDPOINT"),
    ] {
        let expected: BTreeSet<_> = variables.split(' ').collect();
        let own: BTreeSet<_> = ready.sources[source].keys().copied().collect();
        assert_eq!(own, expected, "{source}");
        let known: Source = source.parse().unwrap();
        assert_eq!(known.to_string(), source);
        let environment = ready.environment(known);
        let names: BTreeSet<_> = environment.keys().copied().collect();
        assert_eq!(
            names,
            common.union(&expected).copied().collect(),
            "{source}"
        );
        assert!(
            environment.values().all(|value| !value.is_empty()),
            "{source}"
        );
        let unset = Source::VARIABLES
            .iter()
            .filter(|name| !names.contains(*name));
        assert!(unset.count() > 0, "{source}");
    }
    assert_eq!(ready.sources.len(), Source::ALL.len());
    let unknown = "appservice".parse::<Source>().unwrap_err().to_string();
    assert!(unknown.contains("app-service, container-apps"), "{unknown}");
    let shown = format!("{ready:?}");
    let secret = &ready.sources["app-service"]["IDENTITY_HEADER"];
    assert!(!shown.contains(secret.as_str()), "{shown}");
}

#[test]
fn service_fabric_has_the_certificate_of_the_thumbprint() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let environment = emulator.ready().environment(Source::ServiceFabric);
    let certificate = presented(&emulator);
    assert_eq!(
        thumbprint(&certificate),
        environment["IDENTITY_SERVER_THUMBPRINT"]
    );
    let published = emulator.ready().service_fabric_certificate.as_bytes();
    assert_eq!(
        thumbprint(&X509::from_pem(published).unwrap()),
        thumbprint(&certificate)
    );
    let own_key = certificate.public_key().unwrap();
    assert!(certificate.verify(&own_key).unwrap(), "not self-signed");
    let ca = X509::from_pem(emulator.ca_pem()).unwrap();
    for (fault, is_signed_by_ca) in [
        ("service-fabric-tls=ca-signed-certificate*1", true),
        ("service-fabric-tls=server-certificate:untrusted*1", false),
    ] {
        emulator.inject(fault.parse().unwrap()).unwrap();
        let other = presented(&emulator);
        assert_ne!(thumbprint(&other), thumbprint(&certificate), "{fault}");
        let key = ca.public_key().unwrap();
        assert_eq!(
            other.verify(&key).unwrap_or(false),
            is_signed_by_ca,
            "{fault}"
        );
    }
    assert_eq!(thumbprint(&presented(&emulator)), thumbprint(&certificate));
    let url = format!(
        "{}?api-version=2020-05-01&resource=a",
        environment["IDENTITY_ENDPOINT"]
    );
    let headers = [("secret", environment["IDENTITY_HEADER"].as_str())];
    assert_eq!(get(&url, &headers).0, 200);
}

#[test]
fn tells_plain_http_clients_to_use_https() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let ready = emulator.ready();
    for origin in [&ready.service_fabric, &ready.vault, &ready.sts] {
        let url = origin.replacen("https", "http", 1);
        let (status, _, body) = get(&format!("{url}/"), &[]);
        assert_eq!(status, 400, "{origin}");
        assert!(body.contains("use https"), "{body}");
    }
}

#[test]
fn vault_accepts_bearer_tokens_after_its_challenge_unless_configured_otherwise() {
    for bearer_tokens in [true, false] {
        let mut config = Config::default();
        config.vault.bearer_tokens = bearer_tokens;
        let emulator = Emulator::start(config).unwrap();
        let ready = emulator.ready();
        let secret = format!("{}/secrets/demo-secret/?api-version=7.6", ready.vault);
        let (status, head, _) = get(&secret, &[]);
        assert_eq!(status, 401);
        let challenge = format!(r#"www-authenticate: Bearer authorization="{}/"#, ready.sts);
        assert!(head.contains(&challenge), "{head}");
        assert!(
            head.contains(r#"resource="https://vault.azure.net""#),
            "{head}"
        );
        let url = format!("{}/metadata/identity/oauth2/token{QUERY}", ready.imds);
        let (_, _, body) = get(&url, &[("Metadata", "true")]);
        let token: Value = serde_json::from_str(&body).unwrap();
        let authorization = format!("Bearer {}", token["access_token"].as_str().unwrap());
        let (status, _, body) = get(&secret, &[("Authorization", &authorization)]);
        let expected = if bearer_tokens {
            (200, "only the holder of the key reads this")
        } else {
            (401, "BoundTokenRequired")
        };
        assert_eq!(status, expected.0, "{body}");
        assert!(body.contains(expected.1), "{body}");
    }
}
