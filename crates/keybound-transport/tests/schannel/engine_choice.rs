//! The choice of the TLS engine.
use crate::fixture::{builder, clients, server_config, trusted_server};
use crate::native::{trusted, wine_compatible};
use crate::support::keys::shared_key;
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{ClientAuth, ServerConfig, resource_server};
use crate::support::{ClientBuilder, client_builder, error_chain, get};
use keybound_transport::{TlsEngine, TlsVersions, TransportErrorKind, TrustAnchors, VersionPolicy};
use openssl::ssl::SslVersion;

#[tokio::test]
async fn unsupported_settings_are_an_error_of_the_system_engine() {
    let authority = Authority::new("authority");
    let identity = authority.client("client", shared_key());
    let trust = TrustAnchors::system().with_pem(&authority.pem()).unwrap();
    let automatic = || ClientBuilder::default().engine(TlsEngine::Automatic);
    for builder in [
        builder().identity(identity.clone()),
        builder().trust(trust.clone()),
        automatic().identity(identity),
        automatic().trust(trust),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::HostUnsupported);
        assert!(error.to_string().contains("OpenSSL"), "{error}");
    }
}

#[tokio::test]
async fn falls_back_to_openssl_for_unsupported_settings() {
    let authority = Authority::new("authority");
    let server = crate::fixture::server(
        authority.server("localhost"),
        &authority,
        ClientAuth::Required,
    )
    .await;
    let identity = authority.client("client", shared_key());
    let client = client_builder(&authority)
        .engine(TlsEngine::SystemOrOpenSsl)
        .identity(identity)
        .build()
        .unwrap();
    let response = get(&client, &server.uri("/")).await.unwrap();
    assert_eq!(response.info().tls_version, "TLSv1.3");
}

#[tokio::test]
async fn uses_the_systems_tls_by_default() {
    let server = trusted_server(ClientAuth::None).await;
    for engine in [
        TlsEngine::Automatic,
        TlsEngine::SystemOrOpenSsl,
        TlsEngine::SChannel,
    ] {
        let client = ClientBuilder::default().engine(engine).build().unwrap();
        let response = get(&client, &server.uri("/")).await.unwrap();
        // Wine's SChannel does not support TLS 1.3; OpenSSL, which trusts the same store, would use it.
        assert_eq!(response.info().tls_version, "TLSv1.2", "{engine:?}");
    }
}

#[tokio::test]
async fn version_that_windows_lacks_is_a_host_error() {
    let server = trusted_server(ClientAuth::None).await;
    let versions = VersionPolicy::default().with_host("localhost", TlsVersions::Tls13);
    let client = builder().versions(versions).build().unwrap();
    match get(&client, &server.uri("/")).await {
        Ok(response) => assert_eq!(response.info().tls_version, "TLSv1.3"),
        Err(error) => assert_eq!(error.kind(), TransportErrorKind::HostUnsupported, "{error}"),
    }
}

#[tokio::test]
async fn version_that_the_server_lacks_is_not_a_host_error() {
    let server = server_config(
        wine_compatible(|| trusted().server("localhost")),
        clients(),
        ClientAuth::None,
    );
    let server = resource_server(
        ServerConfig {
            version: Some(SslVersion::TLS1_3),
            ..server
        }
        .context(),
    )
    .await;
    let versions = VersionPolicy::default().with_host("localhost", TlsVersions::Tls12);
    let client = builder().versions(versions).build().unwrap();
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    assert_eq!(
        error.kind(),
        TransportErrorKind::Tls,
        "{}",
        error_chain(&error)
    );
}
