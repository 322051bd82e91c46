//! Contexts of the caller's.
use crate::fixture::{SERVER, fixture, get, trust_in};
use crate::openssl_clients::{connect, setup};
use crate::support::keys::{callback_key, shared_key};
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{
    ClientAuth, Server, ServerConfig, Tls, resource_server, switch_context, tls_server,
};
use crate::support::{ClientBuilder, client_builder, get as call};
use keybound_keys::SigningCost;
use keybound_openssl::server::request_client_certificate;
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{
    OpensslSetup, TlsEngine, TlsVersions, TransportErrorKind, TrustAnchors, VersionPolicy,
};
use openssl::ssl::{Ssl, SslConnector, SslMethod, SslOptions, SslSessionCacheMode, SslVersion};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::time::Duration;

#[test]
fn key_never_exported_from_a_callers_context() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    let setup = setup(&identity, &trust_in(&authority));
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    setup.set_up(&mut connector, TlsVersions::Tls12).unwrap();
    let own = setup.context_builder(TlsVersions::Tls12).unwrap().build();
    for context in [own, connector.build().into_context()] {
        let key = context.private_key().unwrap();
        assert!(key.private_key_to_der().is_err());
        assert!(key.private_key_to_pkcs8().is_err());
        assert!(key.private_key_to_pem_pkcs8().is_err());
        assert!(key.rsa().is_err());
        let public = key.public_key_to_der().unwrap();
        assert_eq!(public, identity.key().public_key_der());
    }
    assert!(!format!("{setup:?}").contains("PRIVATE"));
}

#[test]
fn no_stale_pairing_by_tickets_or_compression() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    let setup = setup(&identity, &TrustAnchors::system());
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    // Settings of the caller before.
    connector.clear_options(SslOptions::NO_TICKET);
    connector.set_session_cache_mode(SslSessionCacheMode::CLIENT);
    setup.set_up(&mut connector, TlsVersions::Tls12).unwrap();
    let forbidden = SslOptions::NO_TICKET | SslOptions::NO_COMPRESSION;
    assert!(connector.options().contains(forbidden));
    // The callback receives sessions, to make each not resumable; none is stored.
    let before = connector.set_session_cache_mode(SslSessionCacheMode::OFF);
    let shown = SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL_STORE;
    assert_eq!(before, shown);
}

#[tokio::test]
async fn callers_anchors_apply_to_their_context_only() {
    let authority = Authority::new("test authority");
    let fixture = fixture(SslVersion::TLS1_3, ClientAuth::None).await;
    let identity = authority.client("client", shared_key());
    let setup = setup(&identity, &TrustAnchors::system());
    let mut builder = setup.context_builder(TlsVersions::Tls13).unwrap();
    builder
        .cert_store_mut()
        .add_cert(fixture.authority.certificate().clone())
        .unwrap();
    let mut ssl = Ssl::new(&builder.build()).unwrap();
    ssl.param_mut().set_host(SERVER).unwrap();
    assert!(connect(ssl, &fixture.server).await.is_ok());
    let ssl = setup.ssl(SERVER).unwrap();
    assert!(connect(ssl, &fixture.server).await.is_err());
    // SChannel is not concerned.
    let others = ClientBuilder::default()
        .engine(TlsEngine::OpenSsl)
        .build()
        .unwrap();
    let error = call(&others, &fixture.server.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::ServerCertificate);
}

#[tokio::test]
async fn uses_the_requested_versions() {
    let authority = Authority::new("test authority");
    let server = server_of(&authority, SERVER, ClientAuth::Required).await;
    let identity = authority.client("client", shared_key());
    let trust = trust_in(&authority);
    for (versions, expected) in [
        (TlsVersions::Tls12, SslVersion::TLS1_2),
        (TlsVersions::Tls13, SslVersion::TLS1_3),
        (TlsVersions::Tls12Or13, SslVersion::TLS1_3),
    ] {
        let policy = VersionPolicy::default().with_host(SERVER, versions);
        let setup = OpensslSetup::new(&identity, &trust, &policy).unwrap();
        let builder = setup.context_builder(versions).unwrap();
        for ssl in [
            setup.ssl(SERVER).unwrap(),
            Ssl::new(&builder.build()).unwrap(),
        ] {
            let stream = connect(ssl, &server).await.unwrap();
            assert_eq!(stream.ssl().version2(), Some(expected));
        }
    }
}

#[tokio::test]
async fn uses_tls_12_for_vaults() {
    let authority = Authority::new("test authority");
    for (host, expected) in [
        ("my.vault.azure.net", SslVersion::TLS1_2),
        ("graph.microsoft.com", SslVersion::TLS1_3),
    ] {
        let server = server_of(&authority, host, ClientAuth::None).await;
        let identity = authority.client("client", shared_key());
        let ssl = setup(&identity, &trust_in(&authority)).ssl(host).unwrap();
        let stream = connect(ssl, &server).await.unwrap();
        assert_eq!(stream.ssl().version2(), Some(expected), "{host}");
    }
}

#[test]
fn rejects_malformed_hosts() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    let setup = setup(&identity, &TrustAnchors::system());
    for host in ["", "a b", "host:443", "https://host", "::1"] {
        let error = setup.ssl(host).unwrap_err();
        assert_eq!(
            error.kind(),
            keybound_core::ErrorKind::InvalidRequest,
            "{host}"
        );
    }
    for host in ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]"] {
        assert!(setup.ssl(host).is_ok(), "{host}");
    }
}

#[tokio::test]
async fn rejects_another_server_certificate_in_a_renegotiation() {
    let authority = Authority::new("test authority");
    let context = || {
        ServerConfig {
            leaf: authority.server(SERVER),
            version: Some(SslVersion::TLS1_2),
            client_auth: ClientAuth::None,
            client_ca: authority.clone(),
        }
        .context()
    };
    let (first, second) = (context(), context());
    let server = tls_server(first, move |mut stream: Tls, _, _| {
        let second = second.clone();
        async move {
            read_request(&mut stream).await;
            switch_context(&stream, &second);
            let _ = request_client_certificate(&mut stream).await;
            write_response(&mut stream, "200 OK", "here").await;
        }
    })
    .await;
    let identity = authority.client("client", shared_key());
    let setup = setup(&identity, &trust_in(&authority));
    let builder = setup.context_builder(TlsVersions::Tls12).unwrap();
    for ssl in [
        setup.ssl(SERVER).unwrap(),
        Ssl::new(&builder.build()).unwrap(),
    ] {
        let mut stream = connect(ssl, &server).await.unwrap();
        assert!(get(&mut stream, "/").await.is_err());
    }
}

#[test]
fn callers_context_releases_the_key() {
    let authority = Authority::new("test authority");
    // Disconnects when the key is dropped, which happens on another thread, as slow keys may block.
    let (held, freed) = mpsc::channel::<()>();
    let key = callback_key(SigningCost::Slow, move |scheme, digest| {
        let _held = &held;
        shared_key().sign(scheme, digest)
    });
    let identity = authority.client("client", key);
    let setup = setup(&identity, &trust_in(&authority));
    let context = setup.context_builder(TlsVersions::Tls12).unwrap().build();
    let ssl = setup.ssl(SERVER).unwrap();
    drop((setup, identity));
    assert_eq!(freed.try_recv(), Err(TryRecvError::Empty));
    drop((ssl, context));
    let limit = Duration::from_secs(60);
    assert_eq!(
        freed.recv_timeout(limit),
        Err(RecvTimeoutError::Disconnected)
    );
}

#[tokio::test]
async fn own_client_works_beside_a_callers_context() {
    let authority = Authority::new("test authority");
    let server = server_of(&authority, SERVER, ClientAuth::Required).await;
    let identity = authority.client("client", shared_key());
    let setup = setup(&identity, &trust_in(&authority));
    let _context = setup.context_builder(TlsVersions::Tls13).unwrap().build();
    let client = client_builder(&authority)
        .identity(identity)
        .build()
        .unwrap();
    assert_eq!(call(&client, &server.uri("/")).await.unwrap().status, 200);
}

/// A server of this authority that trusts its clients, with the default versions.
async fn server_of(authority: &Authority, name: &str, client_auth: ClientAuth) -> Server {
    let server_config = ServerConfig {
        leaf: authority.server(name),
        version: None,
        client_auth,
        client_ca: authority.clone(),
    };
    resource_server(server_config.context()).await
}
