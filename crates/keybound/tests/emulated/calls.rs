//! Calls of resources with bound tokens.
use keybound::tls::{TlsVersions, TrustAnchors, VersionPolicy};
use keybound::{ErrorKind, KeyRequirements, Stage, TokenRequest};
use keybound_emulator::{Config, TlsVersionRange};
use keybound_testing::emulated::{GRAPH, TestHost, VAULT, assert_failed, attested, failure, get};

#[tokio::test]
async fn vault_renegotiates_and_the_connection_is_reused() {
    let host = TestHost::new();
    let token = host.client().acquire_token(&attested()).await.unwrap();
    for reused in [false, true, true] {
        let response = get(&token, &host.secret_url()).await.unwrap();
        assert_eq!(response.status(), 200);
        let info = response.connection().unwrap();
        assert_eq!(
            (info.tls_version, info.certificate_requested, info.reused),
            ("TLSv1.2", true, reused)
        );
        let body = response.bytes_limited(4096).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("only the holder of the key reads this"));
    }
    assert_eq!(host.count("vault-tls"), 1);
}

#[tokio::test]
async fn vault_uses_post_handshake_authentication_with_tls_1_3() {
    let mut config = Config::default();
    config.tls.vault = TlsVersionRange::Tls13;
    let host = TestHost::with(config);
    let token = host.client().acquire_token(&attested()).await.unwrap();
    let response = get(&token, &host.secret_url()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.connection().unwrap().tls_version, "TLSv1.3");
}

#[tokio::test]
async fn graph_requests_the_certificate_in_the_handshake_and_403_is_returned() {
    let host = TestHost::new();
    let client = host.client();
    let token = client
        .acquire_token(&TokenRequest::pop(GRAPH, KeyRequirements::attested()))
        .await
        .unwrap();
    assert_eq!(get(&token, &host.graph_url()).await.unwrap().status(), 200);
    host.inject("graph=status:403");
    assert_eq!(get(&token, &host.graph_url()).await.unwrap().status(), 403);
}

#[tokio::test]
async fn reports_a_server_that_never_requests_the_certificate() {
    let host = TestHost::new();
    let token = host.client().acquire_token(&attested()).await.unwrap();
    host.inject("vault=never-ask");
    let error = get(&token, &host.secret_url()).await.unwrap_err();
    assert_failed(
        &error,
        ErrorKind::ClientCertificateNotRequested,
        Stage::Resource,
    );
    assert_eq!(error.status(), Some(401));
    assert!(
        error.service().is_some(),
        "the error has the service's response"
    );
    assert!(error.next_step().contains("TLS 1.2"));
    // The connection is not reused.
    assert_eq!(get(&token, &host.secret_url()).await.unwrap().status(), 200);
    assert_eq!(host.count("vault-tls"), 2);
}

#[tokio::test]
async fn vault_rejects_a_token_for_another_resource() {
    let host = TestHost::new();
    let client = host.client();
    let token = client
        .acquire_token(&TokenRequest::pop(GRAPH, KeyRequirements::attested()))
        .await
        .unwrap();
    let error = get(&token, &host.secret_url()).await;
    // Without the vault's header, the certificate is never requested.
    assert_failed(
        &error.unwrap_err(),
        ErrorKind::ClientCertificateNotRequested,
        Stage::Resource,
    );
}

#[tokio::test]
async fn verifies_servers() {
    let host = TestHost::new();
    let client = host.client();
    host.inject("token-tls=server-certificate:untrusted");
    assert_failed(
        &failure(&client, attested()).await,
        ErrorKind::ServerCertificateInvalid,
        Stage::Token,
    );
    host.inject("token-tls=server-certificate:other-name");
    assert_failed(
        &failure(&client, attested()).await,
        ErrorKind::ServerCertificateInvalid,
        Stage::Token,
    );
    host.inject("token-tls=server-certificate:expired");
    assert_failed(
        &failure(&client, attested()).await,
        ErrorKind::ServerCertificateInvalid,
        Stage::Token,
    );
    let lenient = TestHost::lenient();
    let untrusting = lenient
        .builder_for_memory()
        .trust(TrustAnchors::system())
        .build()
        .unwrap();
    let error = failure(&untrusting, keybound_testing::emulated::software()).await;
    assert_failed(&error, ErrorKind::ServerCertificateInvalid, Stage::Token);
}

#[tokio::test]
async fn bearer_token_is_explicit_and_unbound() {
    let host = TestHost::new();
    let client = host.client();
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
    // It shares the certificate with bound tokens, but no cache entry.
    let bound = client.acquire_token(&attested()).await.unwrap();
    assert_ne!(token.secret(), bound.secret());
    assert_eq!((host.count("issue"), host.count("token")), (1, 2));
}

#[tokio::test]
async fn tls_versions_apply_per_host() {
    let mut config = Config::default();
    config.tls.graph = TlsVersionRange::Tls12To13;
    let host = TestHost::with(config);
    for (versions, expected) in [
        (TlsVersions::Tls12, "TLSv1.2"),
        (TlsVersions::Tls13, "TLSv1.3"),
    ] {
        let policy = VersionPolicy::default()
            .with_host("127.0.0.1", versions)
            .with_host("localhost", versions);
        let client = host.builder().tls_versions(policy).build().unwrap();
        let request = TokenRequest::pop(GRAPH, KeyRequirements::attested());
        let token = client.acquire_token(&request).await.unwrap();
        let response = get(&token, &host.graph_url()).await.unwrap();
        assert_eq!(response.connection().unwrap().tls_version, expected);
    }
}
