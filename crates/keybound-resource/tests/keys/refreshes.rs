//! Keys that are fetched again. The clock of the runtime is paused: it advances only while all tasks wait.
use crate::support::discovered::{Api, FakeIssuer, HOST, keys, made, signed_by, token};
use crate::support::{TestClock, issuer};
use keybound_resource::{
    FetchError, FetchFuture, Guid, KeyFetcher, KeyRefresh, Keys, Reason, Verifier,
};
use keybound_testing::attacks::{RESOURCE, TENANT};
use serde_json::json;
use std::sync::{Arc, Mutex};

#[tokio::test(start_paused = true)]
async fn tenant_that_is_configured_in_capitals_has_its_keys() {
    let issuer = FakeIssuer::with_keys(&issuer().key_set());
    let api = Api::of_tenant(issuer, &TENANT.to_uppercase());
    api.verifier.fetch_due_keys().await;
    assert!(api.verifier.has_keys());
    assert_eq!(api.verify(&token(1)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn fetches_the_keys_of_both_versions_before_the_first_request() {
    let api = Api::new(FakeIssuer::with_keys(&issuer().key_set()));
    assert!(!api.verifier.has_keys());
    assert_eq!(api.verify(&token(1)), Err(Reason::KeysUnavailable));
    api.verifier.fetch_due_keys().await;
    assert!(api.verifier.has_keys());
    assert_eq!(
        (api.verify(&token(1)), api.verify(&token(2))),
        (Ok(()), Ok(()))
    );
    assert!(api.verifier.due_key_refresh().is_none());
}

#[tokio::test(start_paused = true)]
async fn retired_key_is_refused_after_the_hourly_refresh_although_its_token_is_cached() {
    let api = Api::started(&keys(&["any", "second"])).await;
    let (retired, kept) = (signed_by("second"), signed_by("any"));
    assert_eq!((api.verify(&retired), api.verify(&kept)), (Ok(()), Ok(())));
    api.issuer.publish_keys(&keys(&["any"]));
    api.clock.advance(3300);
    assert!(api.verifier.due_key_refresh().is_none());
    assert_eq!(api.verify(&retired), Ok(()));
    api.clock.advance(300);
    api.verifier.fetch_due_keys().await;
    assert_eq!(api.issuer.fetches(), 4);
    assert_eq!(api.verify(&retired), Err(Reason::KeyUnknown));
    let bytes = api.verifier.cached_bytes();
    assert_eq!(api.verify(&kept), Ok(()));
    assert_eq!(api.verifier.cached_bytes(), bytes, "it is still cached");
}

#[tokio::test(start_paused = true)]
async fn other_key_under_the_same_id_replaces_it() {
    let api = Api::started(&keys(&["any"])).await;
    let old = signed_by("any");
    assert_eq!(api.verify(&old), Ok(()));
    let mut replaced = keys(&["second"]);
    replaced["keys"][0]["kid"] = "any".into();
    api.issuer.publish_keys(&replaced);
    api.clock.advance(3600);
    api.verifier.fetch_due_keys().await;
    assert_eq!(api.verify(&old), Err(Reason::SignatureInvalid));
    let recipe = json!({ "key": "second", "kid": "any" });
    assert_eq!(api.verify(&made(recipe)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn last_keys_remain_in_use_for_a_day_while_the_issuer_fails() {
    let api = Api::started(&keys(&["any"])).await;
    api.issuer.fail();
    let token = made(json!({ "claims": { "exp": { "now": 200_000 } } }));
    for _ in 0..23 {
        api.clock.advance(3600);
        assert_eq!(api.authenticate(&token).await, Ok(()));
        tokio::task::yield_now().await;
    }
    assert!(api.issuer.fetches() >= 23);
    api.clock.advance(3600);
    assert_eq!(api.authenticate(&token).await, Err(Reason::KeysUnavailable));
    assert!(!api.verifier.has_keys());
    // It recovers.
    let working = FakeIssuer::with_keys(&keys(&["any"]));
    api.issuer.0.lock().unwrap().documents = working.0.lock().unwrap().documents.clone();
    api.clock.advance(60);
    assert_eq!(
        api.authenticate(&token).await,
        Err(Reason::CertificateExpired)
    );
    api.verifier.fetch_due_keys().await;
    assert!(api.verifier.has_keys());
}

#[tokio::test(start_paused = true)]
async fn clock_jumps_delay_no_refresh_and_revive_nothing() {
    let api = Api::started(&keys(&["any", "second"])).await;
    let expiring = token(2);
    let long = |key: &str| made(json!({ "key": key, "claims": { "exp": { "now": 200_000 } } }));
    let (kept, retired) = (long("any"), long("second"));
    for token in [&expiring, &kept, &retired] {
        assert_eq!(api.authenticate(token).await, Ok(()));
    }
    api.issuer.publish_keys(&keys(&["any"]));
    // Forward: the token has expired, and the keys are old.
    api.clock.advance(5);
    api.clock.jump(6 * 3600);
    assert_eq!(api.authenticate(&expiring).await, Err(Reason::TokenExpired));
    assert_eq!(api.authenticate(&kept).await, Ok(()));
    assert_eq!(api.authenticate(&retired).await, Err(Reason::KeyUnknown));
    assert!(api.issuer.fetches() > 0);
    // Back: fresh tokens are accepted again, and the retired key is not.
    api.clock.advance(5);
    api.clock.jump(-6 * 3600);
    for token in [&expiring, &kept] {
        assert_eq!(api.authenticate(token).await, Ok(()));
    }
    assert_eq!(api.authenticate(&retired).await, Err(Reason::KeyUnknown));
    // Further back: what has expired remains refused.
    api.clock.advance(4000);
    assert_eq!(api.authenticate(&expiring).await, Err(Reason::TokenExpired));
    api.clock.jump(-30 * 24 * 3600);
    assert_eq!(api.authenticate(&expiring).await, Err(Reason::TokenExpired));
    assert_eq!(api.authenticate(&kept).await, Ok(()));
    assert_eq!(api.authenticate(&retired).await, Err(Reason::KeyUnknown));
    api.verifier.fetch_due_keys().await;
    api.issuer.fetches();
    // The refresh of the next hour takes place, and finds what the issuer publishes now.
    api.issuer.publish_keys(&keys(&["any", "second"]));
    api.clock.advance(3600);
    api.verifier.fetch_due_keys().await;
    assert_eq!(api.issuer.fetches(), 4);
    assert_eq!(api.verify(&retired), Ok(()));
}

/// By the clock of the verifier, each document takes as long as the interval between attempts.
#[tokio::test(start_paused = true)]
async fn fetch_of_due_keys_ends_when_the_issuer_does_not_respond() {
    let clock = TestClock::new();
    let slow = Slow(clock.clone(), Arc::default());
    let verifier = Verifier::builder()
        .audience(RESOURCE)
        .tenant(Guid::parse(TENANT).unwrap())
        .keys(Keys::discovered(slow.clone()))
        .clock(clock)
        .build()
        .unwrap();
    verifier.fetch_due_keys().await;
    assert!(!verifier.has_keys());
    let mut fetched = std::mem::take(&mut *slow.1.lock().unwrap());
    fetched.sort();
    let metadata = |version| format!("{HOST}/{TENANT}{version}/.well-known/openid-configuration");
    assert_eq!(fetched, [metadata(""), metadata("/v2.0")]);
    // Neither issuer delays the other one.
    for _ in 0..4 {
        if let Some(refresh) = verifier.due_key_refresh() {
            refresh.run().await.unwrap_err();
        }
    }
    fetched = std::mem::take(&mut *slow.1.lock().unwrap());
    fetched.dedup();
    assert!(fetched.len() >= 2, "{fetched:?}");
}

#[derive(Clone)]
struct Slow(TestClock, Arc<Mutex<Vec<String>>>);

impl KeyFetcher for Slow {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        self.1.lock().unwrap().push(url.to_owned());
        self.0.advance(5);
        Box::pin(async { Err(FetchError::new("timed out")) })
    }
}

#[tokio::test(start_paused = true)]
async fn fetch_that_never_ends_does_not_stop_later_ones() {
    let api = Api::started(&keys(&["any"])).await;
    let gate = api.issuer.close_gate();
    api.clock.advance(3600);
    let hanging: Vec<_> = std::iter::from_fn(|| api.verifier.due_key_refresh()).collect();
    let mut hanging: Vec<_> = hanging
        .into_iter()
        .map(|refresh| Box::pin(refresh.run()))
        .collect();
    for run in &mut hanging {
        assert!(futures_util::poll!(run).is_pending());
    }
    api.issuer.0.lock().unwrap().gate = None;
    api.clock.advance(29);
    assert!(api.verifier.due_key_refresh().is_none());
    api.clock.advance(1);
    api.issuer.publish_keys(&keys(&["second"]));
    api.verifier.fetch_due_keys().await;
    assert_eq!(api.verify(&signed_by("second")), Ok(()));
    // What ends too late changes nothing.
    api.issuer.publish_keys(&keys(&["any"]));
    for run in hanging {
        gate.notify_one();
        run.await.unwrap();
    }
    assert_eq!(api.verify(&signed_by("second")), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn dropped_refresh_is_no_attempt_unless_it_ran() {
    let api = Api::new(FakeIssuer::with_keys(&keys(&["any"])));
    drop(api.verifier.due_key_refresh().unwrap());
    let gate = api.issuer.close_gate();
    for _ in 0..2 {
        let refresh: KeyRefresh = api.verifier.due_key_refresh().unwrap();
        let mut running = Box::pin(refresh.run());
        assert!(futures_util::poll!(&mut running).is_pending());
    }
    drop(gate);
    api.issuer.0.lock().unwrap().gate = None;
    assert!(api.verifier.due_key_refresh().is_none());
    api.clock.advance(60);
    api.verifier.fetch_due_keys().await;
    assert!(api.verifier.has_keys());
}
