//! Calls of resources with bound tokens.
use crate::world::{GRAPH, VAULT, World, assert_failed, attested, failure, get};
use keybound::tls::{TlsVersions, TrustAnchors, VersionPolicy};
use keybound::{ErrorKind, KeyRequirements, Stage, TokenRequest};
use keybound_emulator::{Config, TlsVersionRange};

#[tokio::test]
async fn the_vault_asks_by_renegotiation_and_the_connection_is_kept() {
    let world = World::new();
    let token = world.client().acquire_token(&attested()).await.unwrap();
    for reused in [false, true, true] {
        let answer = get(&token, &world.secret_url()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let info = answer.connection().unwrap();
        assert_eq!(
            (info.tls_version, info.certificate_requested, info.reused),
            ("TLSv1.2", true, reused)
        );
        let body = answer.bytes_limited(4096).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("only the holder of the key reads this"));
    }
    assert_eq!(world.count("vault-tls"), 1);
}

#[tokio::test]
async fn the_vault_over_tls_1_3_asks_after_the_handshake() {
    let mut config = Config::default();
    config.tls.vault = TlsVersionRange::Tls13;
    let world = World::with(config);
    let token = world.client().acquire_token(&attested()).await.unwrap();
    let answer = get(&token, &world.secret_url()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.connection().unwrap().tls_version, "TLSv1.3");
}

#[tokio::test]
async fn graph_asks_in_the_first_handshake_and_403_is_an_answer() {
    let world = World::new();
    let client = world.client();
    let token = client
        .acquire_token(&TokenRequest::pop(GRAPH, KeyRequirements::attested()))
        .await
        .unwrap();
    assert_eq!(get(&token, &world.graph_url()).await.unwrap().status(), 200);
    world.inject("graph=status:403");
    assert_eq!(get(&token, &world.graph_url()).await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_server_that_never_asks_is_named() {
    let world = World::new();
    let token = world.client().acquire_token(&attested()).await.unwrap();
    world.inject("vault=never-ask");
    let error = get(&token, &world.secret_url()).await.unwrap_err();
    assert_failed(
        &error,
        ErrorKind::ClientCertificateNotRequested,
        Stage::Resource,
    );
    assert_eq!(error.status(), Some(401));
    assert!(
        error.service().is_some(),
        "the service's own words are kept"
    );
    assert!(error.next_step().contains("TLS 1.2"));
    // The connection on which it happened is not used again.
    assert_eq!(
        get(&token, &world.secret_url()).await.unwrap().status(),
        200
    );
    assert_eq!(world.count("vault-tls"), 2);
}

#[tokio::test]
async fn a_token_for_another_resource_is_refused_by_the_vault() {
    let world = World::new();
    let client = world.client();
    let token = client
        .acquire_token(&TokenRequest::pop(GRAPH, KeyRequirements::attested()))
        .await
        .unwrap();
    let error = get(&token, &world.secret_url()).await;
    // Without the vault's header the certificate is never asked for, and the error says so.
    assert_failed(
        &error.unwrap_err(),
        ErrorKind::ClientCertificateNotRequested,
        Stage::Resource,
    );
}

#[tokio::test]
async fn servers_are_verified() {
    let world = World::new();
    let client = world.client();
    world.inject("token-tls=server-certificate:untrusted");
    assert_failed(
        &failure(&client, attested()).await,
        ErrorKind::ServerCertificateInvalid,
        Stage::Token,
    );
    world.inject("token-tls=server-certificate:other-name");
    assert_failed(
        &failure(&client, attested()).await,
        ErrorKind::ServerCertificateInvalid,
        Stage::Token,
    );
    world.inject("token-tls=server-certificate:expired");
    assert_failed(
        &failure(&client, attested()).await,
        ErrorKind::ServerCertificateInvalid,
        Stage::Token,
    );
    let lenient = World::lenient();
    let untrusting = lenient
        .builder_for_memory()
        .trust(TrustAnchors::system())
        .build()
        .unwrap();
    let error = failure(&untrusting, crate::world::software()).await;
    assert_failed(&error, ErrorKind::ServerCertificateInvalid, Stage::Token);
}

#[tokio::test]
async fn a_bearer_token_is_asked_for_by_name_and_bound_to_nothing() {
    let world = World::new();
    let client = world.client();
    let token = client
        .acquire_token(&TokenRequest::bearer_over_mtls(
            VAULT,
            KeyRequirements::attested(),
        ))
        .await
        .unwrap();
    assert_eq!(token.token_type().as_str(), "Bearer");
    assert!(token.binding().is_none());
    assert_eq!(
        token.bound_client().unwrap_err().kind(),
        ErrorKind::InvalidRequest
    );
    // It shares the certificate with bound tokens and the cache entry with none.
    let bound = client.acquire_token(&attested()).await.unwrap();
    assert_ne!(token.secret(), bound.secret());
    assert_eq!((world.count("issue"), world.count("token")), (1, 2));
}

#[tokio::test]
async fn tls_versions_are_held_by_host() {
    let mut config = Config::default();
    config.tls.graph = TlsVersionRange::Tls12To13;
    let world = World::with(config);
    for (versions, expected) in [
        (TlsVersions::Tls12, "TLSv1.2"),
        (TlsVersions::Tls13, "TLSv1.3"),
    ] {
        let policy = VersionPolicy::default()
            .with_host("127.0.0.1", versions)
            .with_host("localhost", versions);
        let client = world.builder().tls_versions(policy).build().unwrap();
        let request = TokenRequest::pop(GRAPH, KeyRequirements::attested());
        let token = client.acquire_token(&request).await.unwrap();
        let answer = get(&token, &world.graph_url()).await.unwrap();
        assert_eq!(answer.connection().unwrap().tls_version, expected);
    }
}
