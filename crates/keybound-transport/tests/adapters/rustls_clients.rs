//! rustls with a key that cannot be exported.
use crate::fixture::{
    SERVER, error_chain, fixture, fixture_with, get, resuming_server, thumbprint, trust_in,
};
use crate::support::TEST_TIMEOUT;
use crate::support::fixture::BOTH;
use crate::support::keys::{callback_key, shared_key};
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{ClientAuth, Server, ServerConfig, resource_server};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, SigningCost};
use keybound_transport::{ClientIdentity, RustlsSetup, TrustAnchors};
use openssl::ssl::SslVersion;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub fn config(identity: &ClientIdentity, trust: &TrustAnchors) -> ClientConfig {
    RustlsSetup::new(identity.clone(), trust.clone())
        .client_config(ring::default_provider())
        .unwrap()
}

pub async fn connect(config: ClientConfig, server: &Server) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from(server.host.clone()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

#[tokio::test]
async fn presents_the_certificate_in_the_first_handshake() {
    for version in BOTH {
        for client_auth in [ClientAuth::Optional, ClientAuth::Required] {
            let fixture = fixture(version, client_auth).await;
            let config = config(&fixture.identity, &fixture.trust);
            let mut stream = connect(config, &fixture.server).await.unwrap();
            for _ in 0..2 {
                let response = get(&mut stream, "/").await.unwrap();
                assert_eq!(response, format!("0 {}", thumbprint(&fixture.identity)));
            }
        }
    }
}

#[tokio::test]
async fn presents_no_certificate_without_a_request() {
    for version in BOTH {
        let fixture = fixture(version, ClientAuth::None).await;
        let config = config(&fixture.identity, &fixture.trust);
        let mut stream = connect(config, &fixture.server).await.unwrap();
        assert_eq!(get(&mut stream, "/").await.unwrap(), "0 none");
    }
}

#[tokio::test]
async fn presents_certificates_of_unnamed_authorities() {
    for version in BOTH {
        let authority = Authority::new("test authority");
        let server_config = |client_auth| ServerConfig {
            leaf: authority.server(SERVER),
            version: Some(version),
            client_auth,
            client_ca: authority.clone(),
        };
        let foreign = Authority::new("foreign authority");
        let identity = foreign.client("client", shared_key());
        let trust = trust_in(&authority);
        let optional = resource_server(server_config(ClientAuth::Optional).context()).await;
        let mut stream = connect(config(&identity, &trust), &optional).await.unwrap();
        let response = get(&mut stream, "/").await.unwrap();
        assert_eq!(response, format!("0 {}", thumbprint(&identity)));
        // A server that requires its authority rejects others.
        let required = resource_server(server_config(ClientAuth::Required).context()).await;
        let error = rejection(config(&identity, &trust), &required).await;
        assert!(error.contains("UnknownCA"), "{error}");
        assert_eq!(required.requests(), 0);
    }
}

/// The error of a client whose certificate is rejected: in the handshake, or with TLS 1.3 at the first read.
async fn rejection(config: ClientConfig, server: &Server) -> String {
    let refused = match connect(config, server).await {
        Err(error) => error,
        Ok(mut stream) => get(&mut stream, "/").await.unwrap_err(),
    };
    error_chain(&refused)
}

#[tokio::test]
async fn never_sends_signatures_of_another_key() {
    let other = MemoryKey::generate().unwrap();
    let mismatched: Arc<dyn BindingKey> =
        callback_key(SigningCost::Quick, move |scheme, digest| {
            other.sign(scheme, digest)
        });
    for version in BOTH {
        let fixture = fixture_with(version, ClientAuth::Required, Arc::clone(&mismatched)).await;
        let error = rejection(config(&fixture.identity, &fixture.trust), &fixture.server).await;
        assert!(error.contains("is invalid for"), "{error}");
        assert_eq!(fixture.server.requests(), 0);
    }
}

#[tokio::test]
async fn no_stale_pairing_by_resumed_sessions() {
    for version in BOTH {
        let authority = Authority::new("test authority");
        let server = resuming_server(&authority, version).await;
        let identity = authority.client("client", shared_key());
        let config = config(&identity, &trust_in(&authority));
        for _ in 0..3 {
            let mut stream = connect(config.clone(), &server).await.unwrap();
            assert_eq!(get(&mut stream, "/").await.unwrap(), "false");
        }
        // The server would resume sessions.
        let mut resuming = config;
        resuming.resumption = Resumption::default();
        let mut resumed = String::new();
        for _ in 0..2 {
            let mut stream = connect(resuming.clone(), &server).await.unwrap();
            resumed = get(&mut stream, "/").await.unwrap();
        }
        assert_eq!(resumed, "true");
    }
}

#[tokio::test]
async fn renegotiating_server_fails_with_the_documented_message() {
    let fixture = fixture(SslVersion::TLS1_2, ClientAuth::None).await;
    let config = config(&fixture.identity, &fixture.trust);
    let stream = connect(config, &fixture.server).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("/secure").body(Empty::<Bytes>::new()).unwrap();
    let response = timeout(TEST_TIMEOUT, sender.send_request(request)).await;
    let mut messages = chain(&response.unwrap().unwrap_err());
    if let Err(error) = connection.await.unwrap() {
        messages.push_str(&chain(&error));
    }
    assert!(messages.contains(RENEGOTIATION), "{messages}");
    let page = include_str!("../../../../docs/troubleshooting.md");
    assert!(page.contains(RENEGOTIATION));
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn post_handshake_authentication_is_not_offered() {
    let fixture = fixture(SslVersion::TLS1_3, ClientAuth::None).await;
    let config = config(&fixture.identity, &fixture.trust);
    let mut stream = connect(config, &fixture.server).await.unwrap();
    assert_eq!(get(&mut stream, "/secure").await.unwrap(), "cannot ask");
}

#[test]
fn installs_no_process_default() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    let config = config(&identity, &trust_in(&authority));
    assert!(CryptoProvider::get_default().is_none());
    assert!(config.alpn_protocols.is_empty() && !config.enable_early_data);
}

#[test]
fn rejects_providers_without_cipher_suites() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    let mut provider = ring::default_provider();
    provider.cipher_suites.clear();
    let error = RustlsSetup::new(identity, trust_in(&authority))
        .client_config(provider)
        .unwrap_err();
    assert_eq!(error.kind(), keybound_core::ErrorKind::InvalidRequest);
}

const RENEGOTIATION: &str = "received fatal alert: HandshakeFailure";
