//! Which engine serves whom.
use crate::native::{sound, trusted};
use crate::scene::{builder, clients, good_server, manners};
use crate::support::keys::shared_key;
use crate::support::pki::Authority;
use crate::support::server::{Asks, Manners, resource};
use crate::support::{client_builder, get, words};
use keybound_transport::{
    HttpsClient, TlsEngine, TlsVersions, TransportErrorKind, TrustAnchors, VersionPolicy,
};
use openssl::ssl::SslVersion;

#[tokio::test]
async fn what_schannel_cannot_do_is_an_error_of_the_systems_engine_whatever_features_are_enabled() {
    let authority = Authority::new("authority");
    let identity = authority.client("client", shared_key());
    let trust = TrustAnchors::system().with_pem(&authority.pem()).unwrap();
    let automatic = || HttpsClient::builder().engine(TlsEngine::Automatic);
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
async fn what_schannel_cannot_do_openssl_does() {
    let authority = Authority::new("authority");
    let server =
        crate::scene::server(authority.server("localhost"), &authority, Asks::Firmly).await;
    let identity = authority.client("client", shared_key());
    let client = client_builder(&authority)
        .engine(TlsEngine::SystemOrOpenSsl)
        .identity(identity)
        .build()
        .unwrap();
    let answer = get(&client, &server.uri("/")).await.unwrap();
    assert_eq!(answer.info().tls_version, "TLSv1.3");
}

#[tokio::test]
async fn without_need_of_openssl_tls_is_the_systems() {
    let server = good_server(Asks::Nothing).await;
    for engine in [
        TlsEngine::Automatic,
        TlsEngine::SystemOrOpenSsl,
        TlsEngine::SChannel,
    ] {
        let client = HttpsClient::builder().engine(engine).build().unwrap();
        let answer = get(&client, &server.uri("/")).await.unwrap();
        // Wine's SChannel is recognised by what it cannot do; OpenSSL, which trusts the same store, would take 1.3.
        assert_eq!(answer.info().tls_version, "TLSv1.2", "{engine:?}");
    }
}

#[tokio::test]
async fn a_version_that_this_windows_does_not_have_is_the_hosts_fault() {
    let server = good_server(Asks::Nothing).await;
    let versions = VersionPolicy::default().with_host("localhost", TlsVersions::Tls13);
    let client = builder().versions(versions).build().unwrap();
    match get(&client, &server.uri("/")).await {
        Ok(answer) => assert_eq!(answer.info().tls_version, "TLSv1.3"),
        Err(error) => assert_eq!(error.kind(), TransportErrorKind::HostUnsupported, "{error}"),
    }
}

#[tokio::test]
async fn a_version_that_the_server_does_not_have_is_not_the_hosts_fault() {
    let server = manners(
        sound(|| trusted().server("localhost")),
        clients(),
        Asks::Nothing,
    );
    let server = resource(
        Manners {
            version: Some(SslVersion::TLS1_3),
            ..server
        }
        .context(),
    )
    .await;
    let versions = VersionPolicy::default().with_host("localhost", TlsVersions::Tls12);
    let client = builder().versions(versions).build().unwrap();
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Tls, "{}", words(&error));
}
