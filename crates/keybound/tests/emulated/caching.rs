//! What is cached, for how long, and what is not.
use crate::world::{GRAPH, World, assert_failed, attested, failure};
use keybound::{Claims, Environment, ErrorKind, KeyRequirements, Stage, TokenRequest, TokenSource};
use keybound_emulator::{BypassCache, Config};

#[tokio::test]
async fn the_second_answer_comes_from_the_cache_and_asks_nobody() {
    let world = World::new();
    let client = world.client();
    let first = client.acquire_token(&attested()).await.unwrap();
    let before = world.emulator.counts();
    let second = client.clone().acquire_token(&attested()).await.unwrap();
    assert_eq!(world.emulator.counts(), before);
    assert_eq!(
        (first.source(), second.source()),
        (TokenSource::IdentityProvider, TokenSource::Cache)
    );
    assert_eq!(first.secret(), second.secret());
    assert!(second.timings().is_empty());
}

#[tokio::test]
async fn another_resource_costs_a_token_and_no_metadata() {
    let world = World::new();
    let client = world.client();
    client.acquire_token(&attested()).await.unwrap();
    let graph = TokenRequest::pop(GRAPH, KeyRequirements::attested());
    client.acquire_token(&graph).await.unwrap();
    assert_eq!(
        (
            world.count("metadata"),
            world.count("issue"),
            world.count("token")
        ),
        (1, 1, 2)
    );
}

#[tokio::test]
async fn a_kept_connection_that_entra_ends_costs_no_token() {
    for ending in ["close", "reset"] {
        let world = World::new();
        let client = world.client();
        client.acquire_token(&attested()).await.unwrap();
        world.inject(&format!("token={ending}"));
        let graph = TokenRequest::pop(GRAPH, KeyRequirements::attested());
        client.acquire_token(&graph).await.unwrap();
        assert_eq!(world.count("token"), 3, "{ending}");
    }
}

#[tokio::test]
async fn a_forced_refresh_costs_a_token_and_keeps_the_certificate() {
    let world = World::new();
    let client = world.client();
    let first = client.acquire_token(&attested()).await.unwrap();
    let second = client
        .acquire_token(&attested().force_refresh(true))
        .await
        .unwrap();
    assert_eq!(second.source(), TokenSource::IdentityProvider);
    assert_eq!(
        first.binding().unwrap().certificate(),
        second.binding().unwrap().certificate()
    );
    assert_eq!((world.count("issue"), world.count("token")), (1, 2));
}

#[tokio::test]
async fn a_new_certificate_needs_no_new_attestation_unless_their_cache_is_switched_off() {
    for (value, attestations) in [("1", 1), ("0", 2)] {
        let world = World::new();
        let environment = Environment::from_lookup(|name| {
            (name == "MSAL_MSI_V2_ATTESTATION_CACHE").then(|| value.to_owned())
        });
        let client = world.builder().environment(environment).build().unwrap();
        client.acquire_token(&attested()).await.unwrap();
        let claims = Claims::parse(r#"{"access_token":{"nbf":{"essential":true}}}"#).unwrap();
        client
            .acquire_token(&attested().claims(claims))
            .await
            .unwrap();
        let counts = (world.count("issue"), world.count("attest"));
        assert_eq!(counts, (2, attestations), "{value}");
    }
}

#[tokio::test]
async fn a_token_is_refreshed_in_its_last_five_minutes() {
    let world = World::new();
    let client = world.client();
    let token = client.acquire_token(&attested()).await.unwrap();
    let life = token
        .expires_on()
        .duration_since(world.emulator.clock().now())
        .unwrap()
        .as_secs();
    world
        .emulator
        .clock()
        .advance(i64::try_from(life).unwrap() - 310);
    assert_eq!(
        client.acquire_token(&attested()).await.unwrap().source(),
        TokenSource::Cache
    );
    world.emulator.clock().advance(20);
    assert_eq!(
        client.acquire_token(&attested()).await.unwrap().source(),
        TokenSource::IdentityProvider
    );
    assert_eq!(world.count("issue"), 1);
}

#[tokio::test]
async fn a_certificate_near_its_end_is_renewed() {
    let world = World::new();
    let client = world.client();
    let token = client.acquire_token(&attested()).await.unwrap();
    let certificate = token.binding().unwrap().certificate().clone();
    let left = certificate
        .not_after()
        .duration_since(world.emulator.clock().now())
        .unwrap();
    world
        .emulator
        .clock()
        .advance(i64::try_from(left.as_secs()).unwrap() - 3600);
    let renewed = client.acquire_token(&attested()).await.unwrap();
    assert_ne!(renewed.binding().unwrap().certificate(), &certificate);
    assert_eq!(world.count("issue"), 2);
}

#[tokio::test]
async fn claims_get_a_fresh_certificate_first_and_are_not_cached() {
    let world = World::new();
    let client = world.client();
    client.acquire_token(&attested()).await.unwrap();
    let claims =
        Claims::parse(r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#).unwrap();
    for _ in 0..2 {
        let token = client
            .acquire_token(&attested().claims(claims.clone()))
            .await
            .unwrap();
        assert_eq!(token.source(), TokenSource::IdentityProvider);
    }
    let issues: Vec<_> = world
        .emulator
        .records()
        .into_iter()
        .filter(|record| record.leg == "issue")
        .map(|record| record.query)
        .collect();
    let bypassed = issues
        .iter()
        .filter(|query| query.contains("bypass_cache=true"))
        .count();
    assert_eq!((issues.len(), bypassed), (3, 2), "{issues:?}");
}

#[tokio::test]
async fn a_refused_certificate_is_replaced_within_the_call_past_the_cache_of_imds() {
    for fault in [
        "token=aadsts:1000610",
        "token=invalid-client",
        "token=reset",
        "token-tls=reject-certificate:certificate_revoked",
    ] {
        let world = World::new();
        let client = world.client();
        world.inject(fault);
        client.acquire_token(&attested()).await.unwrap();
        let issues: Vec<_> = world
            .emulator
            .records()
            .into_iter()
            .filter(|record| record.leg == "issue")
            .map(|record| record.query.contains("bypass_cache=true"))
            .collect();
        assert_eq!(issues, [false, true], "{fault}");
        // The attestation that led to the refused certificate is not used again.
        assert_eq!(world.count("attest"), 2, "{fault}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_refused_again_and_again_is_the_services_own_error() {
    let world = World::new();
    let client = world.client();
    world.inject("token=aadsts:1000612*always");
    let error = failure(&client, attested()).await;
    assert_failed(&error, ErrorKind::ClientCertificateRejected, Stage::Token);
    assert!(error.service().unwrap().has_code(1_000_612));
    assert_eq!((world.count("issue"), world.count("token")), (3, 3));
    world.emulator.clear_faults();
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn failures_are_not_cached() {
    let world = World::new();
    let client = world.client();
    for fault in [
        "metadata=status:503",
        "metadata=no-server-header",
        "metadata=server-header:nginx",
        "metadata=missing-field:cuId",
        "issue=garbage",
        "issue=missing-field:mtls_authentication_endpoint",
        "token=html",
        "token=truncated",
        "token=not-http",
    ] {
        world.inject(fault);
        failure(&client, attested()).await;
    }
    let token = client.acquire_token(&attested()).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
}

#[tokio::test]
async fn a_certificate_past_its_token_not_after_is_replaced_before_entra_is_asked() {
    let world = World::new();
    world.inject("issue=certificate:past-token-not-after*1");
    let token = world.client().acquire_token(&attested()).await.unwrap();
    let certificate = token.binding().unwrap().certificate().clone();
    // Only that of the fault has the extension.
    assert_eq!(certificate.token_not_after(), None);
    assert_eq!((world.count("issue"), world.count("token")), (2, 1));
}

/// IMDS as it is today: it does not know `bypass_cache`, and answers the certificate that it has.
fn without_bypass() -> World {
    let mut config = Config::default();
    config.imds.bypass_cache = BypassCache::Refused;
    World::with(config)
}

#[tokio::test]
async fn a_connection_that_ends_without_an_alert_costs_no_certificate_where_imds_has_no_other() {
    for ending in ["close", "reset"] {
        let world = without_bypass();
        world.inject(&format!("token={ending}*1"));
        let token = world.client().acquire_token(&attested()).await;
        assert!(token.is_ok(), "{ending}: {token:?}");
        assert_eq!((world.count("issue"), world.count("token")), (3, 2));
    }
}

#[tokio::test]
async fn a_certificate_that_an_alert_refuses_is_not_used_again() {
    let world = without_bypass();
    world.inject("token-tls=reject-certificate:certificate_revoked*1");
    let client = world.client();
    for stage in [Stage::Token, Stage::Credential] {
        let error = failure(&client, attested()).await;
        assert_failed(&error, ErrorKind::ClientCertificateRejected, stage);
    }
    assert_eq!((world.count("token-tls"), world.count("token")), (1, 0));
}
