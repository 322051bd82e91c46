//! The invariants, each by its name, through the whole client.
use crate::world::{VAULT, World, assert_failed, attested, failure, get, software};
use keybound::http::Request;
use keybound::{
    Claims, Environment, ErrorKind, KeyRequirements, KeyStrength, ManagedIdentity, Stage,
    TokenRequest, TokenSource, TokenType,
};
use std::error::Error as _;

#[tokio::test]
async fn no_v1_fallback() {
    let world = World::new();
    world.inject("metadata=status:404*2");
    let client = world.client();
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
    // Nothing else was tried: the path of v1 would count as unknown.
    assert_eq!(
        world.emulator.counts().into_iter().collect::<Vec<_>>(),
        [("metadata", 2)]
    );
}

#[tokio::test]
async fn strict_token_type() {
    let world = World::new();
    let client = world.client();
    for word in ["Bearer", "pop", "mtls_popx"] {
        world.inject(&format!("token=token-type:{word}"));
        assert_failed(
            &failure(&client, attested()).await,
            ErrorKind::TokenTypeMismatch,
            Stage::Token,
        );
    }
    world.inject("token=token-type:mtls_pop");
    let bearer = TokenRequest::bearer_over_mtls(VAULT, KeyRequirements::attested());
    assert_failed(
        &failure(&client, bearer).await,
        ErrorKind::TokenTypeMismatch,
        Stage::Token,
    );
    // Nothing of that was kept.
    let token = client.acquire_token(&attested()).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    assert_eq!(token.token_type(), TokenType::MtlsPop);
}

#[tokio::test]
async fn bound_or_error() {
    let world = World::new();
    let client = world.client();
    for (fault, kind) in [
        ("token=no-cnf", ErrorKind::TokenNotBound),
        ("token=other-cnf", ErrorKind::BindingMismatch),
        ("token=garbage-token", ErrorKind::InvalidResponse),
        ("token=expired-token", ErrorKind::InvalidResponse),
    ] {
        world.inject(fault);
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
    let world = World::new();
    let client = world.client();
    for request in [
        attested(),
        TokenRequest::bearer_over_mtls(VAULT, KeyRequirements::attested()),
    ] {
        world.inject("token=expired-token");
        let error = failure(&client, request.clone()).await;
        assert_failed(&error, ErrorKind::InvalidResponse, Stage::Token);
        assert!(error.to_string().contains("had expired"), "{error}");
        // It was not kept.
        let token = client.acquire_token(&request).await.unwrap();
        assert_eq!(token.source(), TokenSource::IdentityProvider);
    }
}

#[tokio::test]
async fn no_weaker_key() {
    let world = World::lenient();
    let client = world.builder_for_memory().build().unwrap();
    let keyguard = TokenRequest::pop(VAULT, KeyRequirements::unattested());
    assert_failed(
        &failure(&client, keyguard.clone()).await,
        ErrorKind::KeyTooWeak,
        Stage::Key,
    );
    assert_eq!((world.count("issue"), world.count("token")), (0, 0));
    // Nor once a weaker key's certificate and token are cached.
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
    let world = World::lenient();
    let unable = world.builder_for_memory().build().unwrap();
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

    let client = world.client();
    for fault in [
        "attest=status:500",
        "attest=set-field:token=\"\"",
        "attest=set-field:token=\" \"",
        "attest=html",
    ] {
        world.inject(fault);
        assert_eq!(
            failure(&client, attested()).await.stage(),
            Stage::Attestation,
            "{fault}"
        );
    }
    assert_eq!(
        world.count("issue"),
        0,
        "no unattested request went out instead"
    );

    // Attested and unattested share no certificate and no token.
    client.acquire_token(&attested()).await.unwrap();
    let unattested = TokenRequest::pop(VAULT, KeyRequirements::unattested());
    let token = client.acquire_token(&unattested).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    assert_eq!(world.count("issue"), 2);
}

#[tokio::test]
async fn certificate_matches_key() {
    let world = World::new();
    let client = world.client();
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
        world.inject(fault);
        assert_failed(&failure(&client, attested()).await, kind, Stage::Credential);
    }
    assert_eq!(world.count("token"), 0, "no refused certificate was used");
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn no_stale_pairing() {
    let world = World::new();
    let (one, other) = (world.client(), world.client());
    let token = one.acquire_token(&attested()).await.unwrap();
    let foreign = other.acquire_token(&attested()).await.unwrap();
    let request = Request::get(world.secret_url())
        .body(keybound::http::RequestBody::empty())
        .unwrap();
    let error = foreign
        .bound_client()
        .unwrap()
        .send(&token, request)
        .await
        .unwrap_err();
    assert_failed(&error, ErrorKind::BindingMismatch, Stage::Resource);
    assert_eq!(world.count("vault-tls"), 0, "nothing was sent");

    // A new certificate ends the tokens of the old one.
    let challenged = attested().claims(Claims::parse(r#"{"access_token":{}}"#).unwrap());
    let renewed = one.acquire_token(&challenged).await.unwrap();
    let after = one.acquire_token(&attested()).await.unwrap();
    let print = |token: &keybound::AccessToken| {
        token
            .binding()
            .unwrap()
            .certificate()
            .thumbprints()
            .x5t_s256
            .clone()
    };
    assert_ne!(print(&token), print(&renewed));
    assert_eq!(print(&renewed), print(&after));
    assert_eq!(after.source(), TokenSource::IdentityProvider);
}

#[tokio::test]
async fn https_only_no_redirects() {
    let world = World::new();
    // A proxy that does not exist: IMDS and loopback are never reached through one.
    let environment = Environment::from_lookup(|name| {
        name.to_ascii_lowercase()
            .contains("proxy")
            .then(|| "http://127.0.0.1:9".to_owned())
            .filter(|_| !name.to_ascii_lowercase().starts_with("no"))
    });
    let client = world.builder().environment(environment).build().unwrap();
    for (fault, kind, stage) in [
        (
            "metadata=redirect",
            ErrorKind::RedirectRefused,
            Stage::Metadata,
        ),
        (
            "issue=redirect",
            ErrorKind::RedirectRefused,
            Stage::Credential,
        ),
        (
            "metadata=http-endpoint",
            ErrorKind::EndpointRefused,
            Stage::Metadata,
        ),
        (
            "issue=http-endpoint",
            ErrorKind::EndpointRefused,
            Stage::Credential,
        ),
        ("token=redirect", ErrorKind::RedirectRefused, Stage::Token),
    ] {
        world.inject(fault);
        assert_failed(&failure(&client, attested()).await, kind, stage);
    }
    let token = client.acquire_token(&attested()).await.unwrap();
    world.inject("vault=redirect");
    let answer = get(&token, &world.secret_url()).await.unwrap();
    assert!(
        answer.status().is_redirection(),
        "a redirect is returned, not followed"
    );
    let plain = world.secret_url().replace("https:", "http:");
    assert_failed(
        &get(&token, &plain).await.unwrap_err(),
        ErrorKind::InvalidRequest,
        Stage::Resource,
    );
}

#[tokio::test]
async fn secrets_stay_secret() {
    let world = World::new();
    let client = world.client();
    let token = client.acquire_token(&attested()).await.unwrap();
    let bound = token.bound_client().unwrap();
    let vault = keybound::http::ResourceClient::new(&client, attested()).unwrap();
    let call = vault.get(world.secret_url()).header("x", "swordfish");
    let answer = vault.get(world.secret_url()).send().await.unwrap();
    let shown = format!(
        "{token:?} {:#?} {client:?} {bound:?} {:?} {vault:#?} {call:?} {answer:?}",
        token.binding(),
        token.secret()
    );
    for piece in token.secret().expose().split('.') {
        assert!(!shown.contains(&piece[..piece.len().min(20)]), "{shown}");
    }
    assert!(!shown.contains("swordfish"), "{shown}");
    // A service that sends a token back in its words.
    let body = format!(
        r#"{{"error":"invalid_request","error_description":"got {}"}}"#,
        token.secret().expose()
    );
    world.inject(&format!("token=status:400,body={body}"));
    let error = failure(&client, attested().force_refresh(true)).await;
    let shown = format!("{error} {error:?} {:?}", error.source());
    assert!(
        shown.contains("[redacted]") && !shown.contains(&token.secret().expose()[..20]),
        "{shown}"
    );
}

#[tokio::test]
async fn bounded_input() {
    let world = World::new();
    let client = world.client();
    for (leg, stage) in [
        ("metadata", Stage::Metadata),
        ("attest", Stage::Attestation),
        ("issue", Stage::Credential),
        ("token", Stage::Token),
    ] {
        world.inject(&format!("{leg}=oversized"));
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
    let world = World::new();
    let client = world.client();
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
    assert!(world.emulator.counts().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn identity_as_asked() {
    let world = World::new();
    let other = "99999999-9999-4999-8999-999999999999";
    let client = world.client();
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
        world.inject(&fault);
        let error = failure(&client, attested()).await;
        assert_failed(&error, ErrorKind::IdentityMismatch, stage);
    }
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn endpoints_checked() {
    let world = World::new();
    let client = world
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
        world.inject(fault);
        assert_failed(
            &failure(&client, attested()).await,
            ErrorKind::EndpointRefused,
            stage,
        );
    }
    assert_eq!(world.count("token-tls"), 0, "no byte went there");
    client.acquire_token(&attested()).await.unwrap();
    // An empty list allows none.
    let closed = world
        .builder()
        .allowed_hosts(Vec::<String>::new())
        .build()
        .unwrap();
    assert_failed(
        &failure(&closed, attested()).await,
        ErrorKind::EndpointRefused,
        Stage::Metadata,
    );
}

#[tokio::test]
async fn server_judged() {
    let world = World::new();
    let client = world.client();
    let token = client.acquire_token(&attested()).await.unwrap();
    for wrong in ["untrusted", "expired", "other-name"] {
        // Each acquisition is on connections of its own.
        let client = world.client();
        world.inject(&format!("attest-tls=server-certificate:{wrong}"));
        let not_verified = |error, stage| {
            assert_failed(&error, ErrorKind::ServerCertificateInvalid, stage);
        };
        not_verified(failure(&client, attested()).await, Stage::Attestation);
        world.inject(&format!("token-tls=server-certificate:{wrong}"));
        not_verified(failure(&client, attested()).await, Stage::Token);
        for (leg, url) in [("vault", world.secret_url()), ("graph", world.graph_url())] {
            world.inject(&format!("{leg}-tls=server-certificate:{wrong}"));
            not_verified(get(&token, &url).await.unwrap_err(), Stage::Resource);
            assert_eq!(world.count(leg), 0, "{leg} {wrong}: no request was sent");
        }
    }
    // Of those of the first acquisition only, and of the one attestation in each round that went well.
    assert_eq!((world.count("token"), world.count("attest")), (1, 4));
}

#[tokio::test]
async fn key_never_exported() {
    let world = World::lenient();
    let client = world.builder_for_memory().build().unwrap();
    let token = client.acquire_token(&software()).await.unwrap();
    let key = token.binding().unwrap().key();
    // What the API has of a key: its public half, a name, a strength. Debug shows no more.
    assert!(format!("{key:?}").len() < 200, "{key:?}");
    assert!(key.attestation_evidence().is_none());
}

#[tokio::test]
async fn a_simulated_key_works_in_a_simulated_world_only() {
    let world = World::new();
    let untrusting = world
        .builder()
        .trust(keybound::tls::TrustAnchors::system())
        .build()
        .unwrap();
    assert_failed(
        &failure(&untrusting, attested()).await,
        ErrorKind::SimulatedRefused,
        Stage::Key,
    );
    let token = world.client().acquire_token(&attested()).await.unwrap();
    let binding = token.binding().unwrap();
    assert_eq!(binding.key_strength_label(), "simulated");
    assert_eq!(binding.attestation(), keybound::Attestation::Simulated);
}

#[tokio::test]
async fn resources_that_take_no_bound_tokens_say_so() {
    let world = World::new();
    let request = TokenRequest::pop("https://management.azure.com", KeyRequirements::attested());
    let error = failure(&world.client(), request).await;
    assert_failed(&error, ErrorKind::ResourceTakesNoBoundTokens, Stage::Token);
    assert!(error.service().unwrap().has_code(392_196));
    assert!(error.service().unwrap().trace_id.is_some());
}
