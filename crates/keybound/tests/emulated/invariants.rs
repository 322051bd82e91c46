//! The invariants, each under its name, with the whole client.
use keybound::http::Request;
use keybound::{
    Claims, Environment, ErrorKind, KeyRequirements, KeyStrength, ManagedIdentity, Stage,
    TokenRequest, TokenSource, TokenType,
};
use keybound_testing::emulated::{
    TestHost, VAULT, assert_failed, attested, failure, get, software,
};
use std::error::Error as _;

#[tokio::test]
async fn no_v1_fallback() {
    let host = TestHost::new();
    host.inject("metadata=status:404*2");
    let client = host.client();
    assert_failed(
        &failure(&client, attested()).await,
        ErrorKind::ImdsV2Unavailable,
        Stage::Metadata,
    );
    let bearer = TokenRequest::bearer_over_mtls(VAULT, KeyRequirements::attested());
    assert_failed(
        &failure(&client, bearer).await,
        ErrorKind::ImdsV2Unavailable,
        Stage::Metadata,
    );
    // No other request: the path of v1 would be counted as unknown.
    assert_eq!(
        host.emulator.counts().into_iter().collect::<Vec<_>>(),
        [("metadata", 2)]
    );
}

#[tokio::test]
async fn strict_token_type() {
    let host = TestHost::new();
    let client = host.client();
    for token_type in ["Bearer", "pop", "mtls_popx"] {
        host.inject(&format!("token=token-type:{token_type}"));
        assert_failed(
            &failure(&client, attested()).await,
            ErrorKind::TokenTypeMismatch,
            Stage::Token,
        );
    }
    host.inject("token=token-type:mtls_pop");
    let bearer = TokenRequest::bearer_over_mtls(VAULT, KeyRequirements::attested());
    assert_failed(
        &failure(&client, bearer).await,
        ErrorKind::TokenTypeMismatch,
        Stage::Token,
    );
    // None of these responses was cached.
    let token = client.acquire_token(&attested()).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    assert_eq!(token.token_type(), TokenType::MtlsPop);
}

#[tokio::test]
async fn bound_or_error() {
    let host = TestHost::new();
    let client = host.client();
    for (fault, kind) in [
        ("token=no-cnf", ErrorKind::TokenNotBound),
        ("token=other-cnf", ErrorKind::BindingMismatch),
        ("token=garbage-token", ErrorKind::InvalidResponse),
        ("token=expired-token", ErrorKind::InvalidResponse),
    ] {
        host.inject(fault);
        assert_failed(&failure(&client, attested()).await, kind, Stage::Token);
    }
    let token = client.acquire_token(&attested()).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    let claims = token.unverified_claims().unwrap();
    let thumbprints = token.binding().unwrap().certificate().thumbprints();
    assert_eq!(claims.confirmation(), Some(thumbprints.x5t_s256.as_str()));
}

#[tokio::test]
async fn token_expired_is_expired() {
    let host = TestHost::new();
    let client = host.client();
    for request in [
        attested(),
        TokenRequest::bearer_over_mtls(VAULT, KeyRequirements::attested()),
    ] {
        host.inject("token=expired-token");
        let error = failure(&client, request.clone()).await;
        assert_failed(&error, ErrorKind::InvalidResponse, Stage::Token);
        assert!(error.to_string().contains("had expired"), "{error}");
        // It was not cached.
        let token = client.acquire_token(&request).await.unwrap();
        assert_eq!(token.source(), TokenSource::IdentityProvider);
    }
}

#[tokio::test]
async fn no_weaker_key() {
    let host = TestHost::lenient();
    let client = host.builder_for_memory().build().unwrap();
    let keyguard = TokenRequest::pop(VAULT, KeyRequirements::unattested());
    assert_failed(
        &failure(&client, keyguard.clone()).await,
        ErrorKind::KeyTooWeak,
        Stage::Key,
    );
    assert_eq!((host.count("issue"), host.count("token")), (0, 0));
    // Not either once certificate and token of a weaker key are cached.
    let token = client.acquire_token(&software()).await.unwrap();
    assert_eq!(
        token.binding().unwrap().key_strength(),
        KeyStrength::Software
    );
    assert_failed(
        &failure(&client, keyguard).await,
        ErrorKind::KeyTooWeak,
        Stage::Key,
    );
}

#[tokio::test]
async fn attested_or_error() {
    let host = TestHost::lenient();
    let unable = host.builder_for_memory().build().unwrap();
    let request = TokenRequest::pop(
        VAULT,
        KeyRequirements::attested().min_strength(KeyStrength::Software),
    );
    let error = failure(&unable, request).await;
    assert_failed(
        &error,
        ErrorKind::AttestationUnavailable,
        Stage::Attestation,
    );

    let client = host.client();
    for fault in [
        "attest=status:500",
        "attest=set-field:token=\"\"",
        "attest=set-field:token=\" \"",
        "attest=html",
    ] {
        host.inject(fault);
        assert_eq!(
            failure(&client, attested()).await.stage(),
            Stage::Attestation,
            "{fault}"
        );
    }
    assert_eq!(
        host.count("issue"),
        0,
        "no unattested request was sent instead"
    );

    // Attested and unattested requests share no certificate and no token.
    client.acquire_token(&attested()).await.unwrap();
    let unattested = TokenRequest::pop(VAULT, KeyRequirements::unattested());
    let token = client.acquire_token(&unattested).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    assert_eq!(host.count("issue"), 2);
}

#[tokio::test]
async fn certificate_matches_key() {
    let host = TestHost::new();
    let client = host.client();
    for (fault, kind) in [
        (
            "issue=certificate:other-key",
            ErrorKind::CertificateKeyMismatch,
        ),
        ("issue=certificate:garbage", ErrorKind::CertificateMalformed),
        ("issue=certificate:expired", ErrorKind::CertificateNotValid),
        (
            "issue=certificate:not-yet-valid",
            ErrorKind::CertificateNotValid,
        ),
    ] {
        host.inject(fault);
        assert_failed(&failure(&client, attested()).await, kind, Stage::Credential);
    }
    assert_eq!(host.count("token"), 0, "no invalid certificate was used");
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn no_stale_pairing() {
    let host = TestHost::new();
    let (one, other) = (host.client(), host.client());
    let token = one.acquire_token(&attested()).await.unwrap();
    let foreign = other.acquire_token(&attested()).await.unwrap();
    let request = Request::get(host.secret_url())
        .body(keybound::http::RequestBody::empty())
        .unwrap();
    let error = foreign
        .bound_client()
        .unwrap()
        .send(&token, request)
        .await
        .unwrap_err();
    assert_failed(&error, ErrorKind::BindingMismatch, Stage::Resource);
    assert_eq!(host.count("vault-tls"), 0, "nothing was sent");

    // Tokens of the old certificate are no longer returned after a new one.
    let challenged = attested().claims(Claims::parse(r#"{"access_token":{}}"#).unwrap());
    let renewed = one.acquire_token(&challenged).await.unwrap();
    let after = one.acquire_token(&attested()).await.unwrap();
    let thumbprint = |token: &keybound::AccessToken| {
        token
            .binding()
            .unwrap()
            .certificate()
            .thumbprints()
            .x5t_s256
            .clone()
    };
    assert_ne!(thumbprint(&token), thumbprint(&renewed));
    assert_eq!(thumbprint(&renewed), thumbprint(&after));
    assert_eq!(after.source(), TokenSource::IdentityProvider);
}

#[tokio::test]
async fn https_only_no_redirects() {
    let host = TestHost::new();
    // A proxy that does not exist: none is used for IMDS and loopback.
    let environment = Environment::from_lookup(|name| {
        name.to_ascii_lowercase()
            .contains("proxy")
            .then(|| "http://127.0.0.1:9".to_owned())
            .filter(|_| !name.to_ascii_lowercase().starts_with("no"))
    });
    let client = host.builder().environment(environment).build().unwrap();
    for (fault, kind, stage) in [
        (
            "metadata=redirect",
            ErrorKind::RedirectNotAllowed,
            Stage::Metadata,
        ),
        (
            "issue=redirect",
            ErrorKind::RedirectNotAllowed,
            Stage::Credential,
        ),
        (
            "metadata=http-endpoint",
            ErrorKind::EndpointNotAllowed,
            Stage::Metadata,
        ),
        (
            "issue=http-endpoint",
            ErrorKind::EndpointNotAllowed,
            Stage::Credential,
        ),
        (
            "token=redirect",
            ErrorKind::RedirectNotAllowed,
            Stage::Token,
        ),
    ] {
        host.inject(fault);
        assert_failed(&failure(&client, attested()).await, kind, stage);
    }
    let token = client.acquire_token(&attested()).await.unwrap();
    host.inject("vault=redirect");
    let response = get(&token, &host.secret_url()).await.unwrap();
    assert!(
        response.status().is_redirection(),
        "a redirect is returned, not followed"
    );
    let plain = host.secret_url().replace("https:", "http:");
    assert_failed(
        &get(&token, &plain).await.unwrap_err(),
        ErrorKind::InvalidRequest,
        Stage::Resource,
    );
}

#[tokio::test]
async fn secrets_stay_secret() {
    let host = TestHost::new();
    let client = host.client();
    let token = client.acquire_token(&attested()).await.unwrap();
    let bound = token.bound_client().unwrap();
    let vault = keybound::http::ResourceClient::new(&client, attested()).unwrap();
    let call = vault.get(host.secret_url()).header("x", "swordfish");
    let response = vault.get(host.secret_url()).send().await.unwrap();
    let output = format!(
        "{token:?} {:#?} {client:?} {bound:?} {:?} {vault:#?} {call:?} {response:?}",
        token.binding(),
        token.secret()
    );
    for piece in token.secret().expose().split('.') {
        assert!(!output.contains(&piece[..piece.len().min(20)]), "{output}");
    }
    assert!(!output.contains("swordfish"), "{output}");
    // A service that echoes a token in its error description.
    let body = format!(
        r#"{{"error":"invalid_request","error_description":"got {}"}}"#,
        token.secret().expose()
    );
    host.inject(&format!("token=status:400,body={body}"));
    let error = failure(&client, attested().force_refresh(true)).await;
    let output = format!("{error} {error:?} {:?}", error.source());
    assert!(
        output.contains("[redacted]") && !output.contains(&token.secret().expose()[..20]),
        "{output}"
    );
}

#[tokio::test]
async fn bounded_input() {
    let host = TestHost::new();
    let client = host.client();
    for (leg, stage) in [
        ("metadata", Stage::Metadata),
        ("attest", Stage::Attestation),
        ("issue", Stage::Credential),
        ("token", Stage::Token),
    ] {
        host.inject(&format!("{leg}=oversized"));
        assert_failed(
            &failure(&client, attested()).await,
            ErrorKind::ResponseTooLarge,
            stage,
        );
    }
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn no_header_injection() {
    let host = TestHost::new();
    let client = host.client();
    for resource in [
        "https://vault.azure.net\r\nX-Injected: 1",
        "https://vault.azure.net\0",
        "a\nb",
    ] {
        let request = TokenRequest::pop(resource, KeyRequirements::attested());
        assert_failed(
            &failure(&client, request).await,
            ErrorKind::InvalidRequest,
            Stage::Request,
        );
    }
    assert!(ManagedIdentity::resource_id("/subscriptions/x\r\nMetadata: false").is_err());
    assert!(host.emulator.counts().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn identity_as_asked() {
    let host = TestHost::new();
    let other = "99999999-9999-4999-8999-999999999999";
    let client = host.client();
    for (fault, stage) in [
        (
            "issue=certificate:other-client".to_owned(),
            Stage::Credential,
        ),
        (
            "issue=certificate:other-tenant".to_owned(),
            Stage::Credential,
        ),
        (
            format!("issue=set-field:client_id=\"{other}\""),
            Stage::Credential,
        ),
        (
            format!("issue=set-field:tenant_id=\"{other}\""),
            Stage::Credential,
        ),
        ("token=other-client".to_owned(), Stage::Token),
    ] {
        host.inject(&fault);
        let error = failure(&client, attested()).await;
        assert_failed(&error, ErrorKind::IdentityMismatch, stage);
    }
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn endpoints_checked() {
    let host = TestHost::new();
    let client = host
        .builder()
        .allowed_hosts(["localhost", "127.0.0.1"])
        .build()
        .unwrap();
    for (fault, stage) in [
        (
            "metadata=foreign-endpoint:https://evil.example",
            Stage::Metadata,
        ),
        (
            "issue=foreign-endpoint:https://evil.example",
            Stage::Credential,
        ),
        (
            "issue=foreign-endpoint:https://user@127.0.0.1",
            Stage::Credential,
        ),
        (
            "issue=foreign-endpoint:https://127.0.0.1\\@evil.example",
            Stage::Credential,
        ),
        ("issue=http-endpoint", Stage::Credential),
    ] {
        host.inject(fault);
        assert_failed(
            &failure(&client, attested()).await,
            ErrorKind::EndpointNotAllowed,
            stage,
        );
    }
    assert_eq!(host.count("token-tls"), 0, "nothing was sent to it");
    client.acquire_token(&attested()).await.unwrap();
    // An empty list allows none.
    let closed = host
        .builder()
        .allowed_hosts(Vec::<String>::new())
        .build()
        .unwrap();
    assert_failed(
        &failure(&closed, attested()).await,
        ErrorKind::EndpointNotAllowed,
        Stage::Metadata,
    );
}

#[tokio::test]
async fn server_verified() {
    let host = TestHost::new();
    let client = host.client();
    let token = client.acquire_token(&attested()).await.unwrap();
    for wrong in ["untrusted", "expired", "other-name"] {
        // Each acquisition uses new connections.
        let client = host.client();
        host.inject(&format!("attest-tls=server-certificate:{wrong}"));
        let assert_not_verified = |error, stage| {
            assert_failed(&error, ErrorKind::ServerCertificateInvalid, stage);
        };
        assert_not_verified(failure(&client, attested()).await, Stage::Attestation);
        host.inject(&format!("token-tls=server-certificate:{wrong}"));
        assert_not_verified(failure(&client, attested()).await, Stage::Token);
        for (leg, url) in [("vault", host.secret_url()), ("graph", host.graph_url())] {
            host.inject(&format!("{leg}-tls=server-certificate:{wrong}"));
            assert_not_verified(get(&token, &url).await.unwrap_err(), Stage::Resource);
            assert_eq!(host.count(leg), 0, "{leg} {wrong}: no request was sent");
        }
    }
    // Those of the first acquisition, and the successful attestation of each round.
    assert_eq!((host.count("token"), host.count("attest")), (1, 4));
}

#[tokio::test]
async fn key_never_exported() {
    let host = TestHost::lenient();
    let client = host.builder_for_memory().build().unwrap();
    let token = client.acquire_token(&software()).await.unwrap();
    let key = token.binding().unwrap().key();
    // The API exposes a key's public half, name and strength. Debug prints no more.
    assert!(format!("{key:?}").len() < 200, "{key:?}");
    assert!(key.attestation_evidence().is_none());
}

#[tokio::test]
async fn simulated_key_needs_the_emulator() {
    let host = TestHost::new();
    let untrusting = host
        .builder()
        .trust(keybound::tls::TrustAnchors::system())
        .build()
        .unwrap();
    assert_failed(
        &failure(&untrusting, attested()).await,
        ErrorKind::SimulatedNotAllowed,
        Stage::Key,
    );
    let token = host.client().acquire_token(&attested()).await.unwrap();
    let binding = token.binding().unwrap();
    assert_eq!(binding.key_strength_label(), "simulated");
    assert_eq!(binding.attestation(), keybound::Attestation::Simulated);
}

#[tokio::test]
async fn resource_without_bound_tokens_is_an_error() {
    let host = TestHost::new();
    let request = TokenRequest::pop("https://management.azure.com", KeyRequirements::attested());
    let error = failure(&host.client(), request).await;
    assert_failed(&error, ErrorKind::BoundTokensNotAccepted, Stage::Token);
    assert!(error.service().unwrap().has_code(392_196));
    assert!(error.service().unwrap().trace_id.is_some());
}
