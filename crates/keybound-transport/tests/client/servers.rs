//! The verification of servers: names, validity, trust, and changes of the certificate.
use crate::support::keys::shared_key;
use crate::support::pki::{Authority, ClientIdentities as _, Leaf};
use crate::support::server::{
    ClientAuth, Server, ServerConfig, resource_server, switch_context, tls_server,
};
use crate::support::{ClientBuilder, client_builder, error_chain, get};
use keybound_openssl::server::request_client_certificate;
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{TlsEngine, TlsVersions, TransportErrorKind, TrustAnchors, VersionPolicy};
use openssl::ssl::SslVersion;
use std::error::Error as _;

async fn server(authority: &Authority, leaf: Leaf) -> Server {
    let server_config = ServerConfig {
        leaf,
        version: None,
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    resource_server(server_config.context()).await
}

#[tokio::test]
async fn rejects_unverified_servers_with_name_and_reason() {
    let authority = Authority::new("test authority");
    let other = Authority::new("other authority");
    let client = client_builder(&authority).build().unwrap();
    for (leaf, reason) in [
        (authority.server("elsewhere.example"), "hostname mismatch"),
        (authority.server("127.0.0.1"), "hostname mismatch"),
        (
            authority.server_between("localhost", -9..-1),
            "certificate has expired",
        ),
        (
            authority.server_between("localhost", 1..9),
            "certificate is not yet valid",
        ),
        (Leaf::self_signed("localhost"), "self-signed certificate"),
        (
            other.server("localhost"),
            "unable to get local issuer certificate",
        ),
    ] {
        let presented = leaf.pem();
        let server = server(&authority, leaf).await;
        let error = get(&client, &server.uri("/")).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::ServerCertificate);
        let text = error.to_string();
        assert!(
            text.contains("localhost") && text.contains(reason),
            "{text}"
        );
        assert!(error.source().is_none(), "{:?}", error.source());
        let rejected = error.rejected_certificate().unwrap();
        assert_eq!(rejected.to_pem().into_bytes(), presented, "{reason}");
        assert!(error.server_certificate().is_none());
        assert_eq!(server.requests(), 0);
    }
}

/// An intermediate authority without its issuer.
#[tokio::test]
async fn names_the_certificate_of_the_chain_that_is_rejected() {
    let authority = Authority::new("test authority");
    let middle = Authority::new("other root").intermediate("other authority");
    let leaf = middle.server("localhost").with_chain(&[&middle]);
    let server = server(&authority, leaf).await;
    let client = client_builder(&authority).build().unwrap();
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    let rejected = error.rejected_certificate().unwrap();
    assert_eq!(rejected.common_name(), Some("other authority"));
    assert!(rejected.issuer().contains("other root"), "{rejected:?}");
}

/// OpenSSL's own text has codes, names of functions and positions in its source.
#[tokio::test]
async fn errors_of_tls_are_in_words() {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: Some(SslVersion::TLS1_2),
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let server = resource_server(server_config.context()).await;
    let client = client_builder(&authority)
        .versions(VersionPolicy::default().with_host("localhost", TlsVersions::Tls13))
        .build()
        .unwrap();
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    let source = error.source().unwrap().to_string();
    assert!(source.contains("alert protocol version"), "{source}");
    assert!(!source.contains("error:"), "{source}");
    assert!(!source.contains(".c:"), "{source}");
}

#[tokio::test]
async fn verifies_ip_addresses() {
    let authority = Authority::new("test authority");
    let client = client_builder(&authority).build().unwrap();
    let mut valid = server(&authority, authority.server("127.0.0.1")).await;
    valid.host = "127.0.0.1".into();
    assert_eq!(get(&client, &valid.uri("/")).await.unwrap().status, 200);
    for host in ["localhost", "127.0.0.2"] {
        let mut invalid = server(&authority, authority.server(host)).await;
        invalid.host = "127.0.0.1".into();
        let error = get(&client, &invalid.uri("/")).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::ServerCertificate);
        assert!(
            error
                .to_string()
                .to_lowercase()
                .contains("ip address mismatch"),
            "{error}"
        );
    }
}

/// Certificates that name the host elsewhere than in the subject alternative name (RFC 9525, section 6.3).
#[tokio::test]
async fn compares_names_with_the_subject_alternative_name_only() {
    let authority = Authority::new("test authority");
    let client = client_builder(&authority).build().unwrap();
    for (host, leaf) in [
        (
            "localhost",
            authority.server_with_names("localhost", &[], &[]),
        ),
        (
            "localhost",
            authority.server_with_names("localhost", &["elsewhere.example"], &[]),
        ),
        (
            "localhost",
            authority.server_with_names("localhost", &[], &["127.0.0.1"]),
        ),
        (
            "127.0.0.1",
            authority.server_with_names("127.0.0.1", &[], &[]),
        ),
        (
            "127.0.0.1",
            authority.server_with_names("127.0.0.1", &["127.0.0.1"], &[]),
        ),
        (
            "127.0.0.1",
            authority.server_with_names("127.0.0.1", &[], &["127.0.0.2"]),
        ),
    ] {
        let mut server = server(&authority, leaf).await;
        server.host = host.into();
        let error = get(&client, &server.uri("/")).await.unwrap_err();
        let message = error_chain(&error);
        assert_eq!(
            error.kind(),
            TransportErrorKind::ServerCertificate,
            "{message}"
        );
        assert!(message.to_lowercase().contains("mismatch"), "{message}");
        assert_eq!(server.requests(), 0);
    }
    let named =
        authority.server_with_names("other", &["elsewhere.example", "localhost"], &["127.0.0.1"]);
    for host in ["localhost", "127.0.0.1"] {
        let mut server = server(&authority, named.clone()).await;
        server.host = host.into();
        assert_eq!(
            get(&client, &server.uri("/")).await.unwrap().status,
            200,
            "{host}"
        );
    }
}

/// A CA file with an intermediate authority, or the server's certificate, without its issuers (curl/curl#4655).
#[tokio::test]
async fn any_certificate_can_be_a_trust_anchor() {
    let root = Authority::new("test root");
    let middle = root.intermediate("test authority");
    let other = root.intermediate("other authority");
    let leaf = middle.server("localhost");
    let full = leaf.clone().with_chain(&[&middle]);
    for (anchor, leaf, is_valid) in [
        (middle.pem(), &leaf, true),
        (middle.pem(), &full, true),
        (leaf.pem(), &leaf, true),
        (leaf.pem(), &full, true),
        (root.pem(), &full, true),
        (root.pem(), &leaf, false),
        (other.pem(), &full, false),
        (middle.server("localhost").pem(), &full, false),
        (trusted(&middle, TRUST_SERVERS), &full, true),
        (trusted(&middle, REJECT_SERVERS), &full, false),
        (trusted(&middle, TRUST_CLIENTS), &full, false),
    ] {
        let server = server(&root, leaf.clone()).await;
        for loopback in [false, true] {
            let system = TrustAnchors::system();
            let trust = match loopback {
                true => system.with_loopback_pem(&anchor),
                false => system.with_pem(&anchor),
            };
            let client = ClientBuilder::default()
                .engine(TlsEngine::OpenSsl)
                .trust(trust.unwrap())
                .build()
                .unwrap();
            let outcome = get(&client, &server.uri("/")).await;
            let kind = outcome
                .map(|response| response.status)
                .map_err(|error| error.kind());
            let expected = match is_valid {
                true => Ok(200),
                false => Err(TransportErrorKind::ServerCertificate),
            };
            assert_eq!(kind, expected, "{}", String::from_utf8_lossy(&anchor));
        }
    }
}

/// A `TRUSTED CERTIFICATE` of OpenSSL, with these trust settings.
fn trusted(authority: &Authority, settings: &[u8]) -> Vec<u8> {
    let certificate = authority.certificate().to_der().unwrap();
    let content = openssl::base64::encode_block(&[&certificate, settings].concat());
    format!("-----BEGIN TRUSTED CERTIFICATE-----\n{content}\n-----END TRUSTED CERTIFICATE-----\n")
        .into()
}

/// `serverAuth`, `clientAuth` as trusted or rejected uses (`X509_CERT_AUX`).
const TRUST_SERVERS: &[u8] = b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
const TRUST_CLIENTS: &[u8] = b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02";
const REJECT_SERVERS: &[u8] = b"\x30\x0c\xa0\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";

#[tokio::test]
async fn trusts_loopback_anchors_on_loopback() {
    let authority = Authority::new("test authority");
    let server = server(&authority, authority.server("localhost")).await;
    let trust = TrustAnchors::system()
        .with_loopback_pem(&authority.pem())
        .unwrap();
    let client = ClientBuilder::default()
        .engine(TlsEngine::OpenSsl)
        .trust(trust)
        .build()
        .unwrap();
    assert_eq!(get(&client, &server.uri("/")).await.unwrap().status, 200);
    let client = ClientBuilder::default().build().unwrap();
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::ServerCertificate);
}

#[tokio::test]
async fn rejects_another_server_certificate_in_a_renegotiation() {
    let authority = Authority::new("test authority");
    let server_config = |leaf| ServerConfig {
        leaf,
        version: Some(SslVersion::TLS1_2),
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let (first, second) = (
        server_config(authority.server("localhost")).context(),
        server_config(authority.server("localhost")).context(),
    );
    for changes in [false, true] {
        let second = second.clone();
        let server = tls_server(first.clone(), move |mut stream, _, _| {
            let second = second.clone();
            async move {
                read_request(&mut stream).await;
                if changes {
                    switch_context(&stream, &second);
                }
                let _ = request_client_certificate(&mut stream).await;
                write_response(&mut stream, "200 OK", "here").await;
            }
        })
        .await;
        let client = client_builder(&authority)
            .identity(authority.client("client", shared_key()))
            .build()
            .unwrap();
        let response = get(&client, &server.uri("/")).await;
        if changes {
            let error = response.unwrap_err();
            let message = error_chain(&error);
            assert_eq!(
                error.kind(),
                TransportErrorKind::ServerCertificate,
                "{message}"
            );
            assert!(message.contains("another certificate"), "{message}");
        } else {
            assert_eq!(response.unwrap().text(), "here");
        }
    }
}
