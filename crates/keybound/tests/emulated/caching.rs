//! Which values are cached, and for how long.
use keybound::{Claims, Environment, ErrorKind, KeyRequirements, Stage, TokenRequest, TokenSource};
use keybound_emulator::{BypassCache, Config};
use keybound_testing::emulated::{GRAPH, TestHost, assert_failed, attested, failure};

#[tokio::test]
async fn returns_the_cached_token_without_a_request() {
    let host = TestHost::new();
    let client = host.client();
    let first = client.acquire_token(&attested()).await.unwrap();
    let before = host.emulator.counts();
    let second = client.clone().acquire_token(&attested()).await.unwrap();
    assert_eq!(host.emulator.counts(), before);
    assert_eq!(
        (first.source(), second.source()),
        (TokenSource::IdentityProvider, TokenSource::Cache)
    );
    assert_eq!(first.secret(), second.secret());
    assert!(second.timings().is_empty());
}

#[tokio::test]
async fn looks_up_the_cached_token_without_a_request() {
    let mut config = Config::default();
    config.entra.token_lifetime_seconds = 8 * 3600;
    let host = TestHost::with(config);
    let client = host.client();
    assert!(client.cached_token(&attested()).is_none());
    let first = client.acquire_token(&attested()).await.unwrap();
    let before = host.emulator.counts();
    let cached = client.cached_token(&attested()).unwrap();
    assert_eq!(cached.secret(), first.secret());
    assert_eq!(cached.source(), TokenSource::Cache);
    let claims = Claims::parse(r#"{"access_token":{"nbf":{"essential":true}}}"#).unwrap();
    for other in [
        attested().claims(claims),
        attested().force_refresh(true),
        TokenRequest::pop(GRAPH, KeyRequirements::attested()),
        TokenRequest::pop("not a resource\n", KeyRequirements::attested()),
    ] {
        assert!(client.cached_token(&other).is_none(), "{other:?}");
    }
    // Due for a refresh, which is not started outside of a runtime.
    host.emulator.clock().advance(4 * 3600 + 60);
    let outside = client.clone();
    let due = std::thread::spawn(move || outside.cached_token(&attested()).unwrap());
    assert_eq!(due.join().unwrap().secret(), first.secret());
    // To be refreshed first.
    host.emulator.clock().advance(4 * 3600 - 120);
    assert!(client.cached_token(&attested()).is_none());
    assert_eq!(host.emulator.counts(), before);
}

#[tokio::test]
async fn another_resource_reuses_metadata_and_certificate() {
    let host = TestHost::new();
    let client = host.client();
    client.acquire_token(&attested()).await.unwrap();
    let graph = TokenRequest::pop(GRAPH, KeyRequirements::attested());
    client.acquire_token(&graph).await.unwrap();
    assert_eq!(
        (
            host.count("metadata"),
            host.count("issue"),
            host.count("token")
        ),
        (1, 1, 2)
    );
}

#[tokio::test]
async fn retries_a_token_request_on_a_closed_idle_connection() {
    for fault in ["close", "reset"] {
        let host = TestHost::new();
        let client = host.client();
        client.acquire_token(&attested()).await.unwrap();
        host.inject(&format!("token={fault}"));
        let graph = TokenRequest::pop(GRAPH, KeyRequirements::attested());
        client.acquire_token(&graph).await.unwrap();
        assert_eq!(host.count("token"), 3, "{fault}");
    }
}

#[tokio::test]
async fn forced_refresh_reuses_the_certificate() {
    let host = TestHost::new();
    let client = host.client();
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
    assert_eq!((host.count("issue"), host.count("token")), (1, 2));
}

#[tokio::test]
async fn new_certificate_reuses_the_cached_attestation() {
    for (value, attestations) in [("1", 1), ("0", 2)] {
        let host = TestHost::new();
        let environment = Environment::from_lookup(|name| {
            (name == "MSAL_MSI_V2_ATTESTATION_CACHE").then(|| value.to_owned())
        });
        let client = host.builder().environment(environment).build().unwrap();
        client.acquire_token(&attested()).await.unwrap();
        let claims = Claims::parse(r#"{"access_token":{"nbf":{"essential":true}}}"#).unwrap();
        client
            .acquire_token(&attested().claims(claims))
            .await
            .unwrap();
        let counts = (host.count("issue"), host.count("attest"));
        assert_eq!(counts, (2, attestations), "{value}");
    }
}

#[tokio::test]
async fn refreshes_a_token_in_its_last_five_minutes() {
    let host = TestHost::new();
    let client = host.client();
    let token = client.acquire_token(&attested()).await.unwrap();
    let life = token
        .expires_on()
        .duration_since(host.emulator.clock().now())
        .unwrap()
        .as_secs();
    host.emulator
        .clock()
        .advance(i64::try_from(life).unwrap() - 310);
    assert_eq!(
        client.acquire_token(&attested()).await.unwrap().source(),
        TokenSource::Cache
    );
    host.emulator.clock().advance(20);
    assert_eq!(
        client.acquire_token(&attested()).await.unwrap().source(),
        TokenSource::IdentityProvider
    );
    assert_eq!(host.count("issue"), 1);
}

#[tokio::test]
async fn renews_a_certificate_before_it_expires() {
    let host = TestHost::new();
    let client = host.client();
    let token = client.acquire_token(&attested()).await.unwrap();
    let certificate = token.binding().unwrap().certificate().clone();
    let remaining = certificate
        .not_after()
        .duration_since(host.emulator.clock().now())
        .unwrap();
    host.emulator
        .clock()
        .advance(i64::try_from(remaining.as_secs()).unwrap() - 3600);
    let renewed = client.acquire_token(&attested()).await.unwrap();
    assert_ne!(renewed.binding().unwrap().certificate(), &certificate);
    assert_eq!(host.count("issue"), 2);
}

#[tokio::test]
async fn claims_mint_a_certificate_and_are_not_cached() {
    let host = TestHost::new();
    let client = host.client();
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
    let issues: Vec<_> = host
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
async fn replaces_a_rejected_certificate_past_the_cache_of_imds() {
    for fault in [
        "token=aadsts:1000610",
        "token=invalid-client",
        "token=reset",
        "token-tls=reject-certificate:certificate_revoked",
    ] {
        let host = TestHost::new();
        let client = host.client();
        host.inject(fault);
        client.acquire_token(&attested()).await.unwrap();
        let issues: Vec<_> = host
            .emulator
            .records()
            .into_iter()
            .filter(|record| record.leg == "issue")
            .map(|record| record.query.contains("bypass_cache=true"))
            .collect();
        assert_eq!(issues, [false, true], "{fault}");
        // The attestation of the rejected certificate is not reused.
        assert_eq!(host.count("attest"), 2, "{fault}");
    }
}

#[tokio::test]
async fn returns_the_service_error_after_repeated_rejections() {
    let host = TestHost::new();
    let client = host.client();
    host.inject("token=aadsts:1000612*always");
    let error = failure(&client, attested()).await;
    assert_failed(&error, ErrorKind::ClientCertificateRejected, Stage::Token);
    assert!(error.service().unwrap().has_code(1_000_612));
    assert_eq!((host.count("issue"), host.count("token")), (3, 3));
    host.emulator.clear_faults();
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn failures_are_not_cached() {
    let host = TestHost::new();
    let client = host.client();
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
        host.inject(fault);
        failure(&client, attested()).await;
    }
    let token = client.acquire_token(&attested()).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
}

#[tokio::test]
async fn replaces_a_certificate_past_its_token_not_after_before_the_token_request() {
    let host = TestHost::new();
    host.inject("issue=certificate:past-token-not-after*1");
    let token = host.client().acquire_token(&attested()).await.unwrap();
    let certificate = token.binding().unwrap().certificate().clone();
    // Only the fault's certificate has the extension.
    assert_eq!(certificate.token_not_after(), None);
    assert_eq!((host.count("issue"), host.count("token")), (2, 1));
}

/// IMDS as it is today: it does not support `bypass_cache` and returns the cached certificate.
fn without_bypass() -> TestHost {
    let mut config = Config::default();
    config.imds.bypass_cache = BypassCache::Refused;
    TestHost::with(config)
}

#[tokio::test]
async fn keeps_the_certificate_after_a_close_without_alert_if_imds_has_no_other() {
    for fault in ["close", "reset"] {
        let host = without_bypass();
        host.inject(&format!("token={fault}*1"));
        let token = host.client().acquire_token(&attested()).await;
        assert!(token.is_ok(), "{fault}: {token:?}");
        assert_eq!((host.count("issue"), host.count("token")), (3, 2));
    }
}

#[tokio::test]
async fn does_not_reuse_a_certificate_that_an_alert_rejected() {
    let host = without_bypass();
    host.inject("token-tls=reject-certificate:certificate_revoked*1");
    let client = host.client();
    for stage in [Stage::Token, Stage::Credential] {
        let error = failure(&client, attested()).await;
        assert_failed(&error, ErrorKind::ClientCertificateRejected, stage);
    }
    assert_eq!((host.count("token-tls"), host.count("token")), (1, 0));
}
