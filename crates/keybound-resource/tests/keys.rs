//! Discovered keys, by a fake clock and a fake issuer.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use keybound_resource::{
    FetchError, FetchFuture, Guid, KeyFetcher, KeyRefresh, KeySet, KeySetError, Keys, Reason,
    Verifier,
};
use keybound_testing::attacks::{RESOURCE, TENANT};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::discovered::{Api, FakeIssuer, HOST, keys, made, signed_by, token, v2_issuer};
use support::{TestClock, issuer};

#[tokio::test]
async fn tenant_that_is_configured_in_capitals_has_its_keys() {
    let issuer = FakeIssuer::with_keys(&issuer().key_set());
    let api = Api::of_tenant(issuer, &TENANT.to_uppercase());
    api.verifier.fetch_due_keys().await;
    assert!(api.verifier.has_keys());
    assert_eq!(api.verify(&token(1)), Ok(()));
}

#[tokio::test]
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

#[tokio::test]
async fn first_request_waits_for_the_keys() {
    let api = Api::new(FakeIssuer::with_keys(&issuer().key_set()));
    assert_eq!(api.authenticate(&token(2)).await, Ok(()));
    assert_eq!(api.authenticate(&token(1)).await, Ok(()));
}

#[tokio::test]
async fn request_fails_without_keys_and_succeeds_when_the_issuer_responds() {
    let api = Api::new(FakeIssuer::default());
    assert_eq!(
        api.authenticate(&token(2)).await,
        Err(Reason::KeysUnavailable)
    );
    let working = FakeIssuer::with_keys(&issuer().key_set());
    api.issuer.0.lock().unwrap().documents = working.0.lock().unwrap().documents.clone();
    api.issuer.fetches();
    // Not for each request.
    assert_eq!(
        api.authenticate(&token(2)).await,
        Err(Reason::KeysUnavailable)
    );
    assert_eq!(api.issuer.fetches(), 0);
    api.clock.advance(5);
    assert_eq!(api.authenticate(&token(2)).await, Ok(()));
}

#[tokio::test]
async fn unknown_key_is_fetched_at_most_every_five_minutes() {
    let api = Api::started(&keys(&["any"])).await;
    api.clock.advance(300);
    api.issuer.publish_keys(&keys(&["any", "second"]));
    assert_eq!(api.authenticate(&signed_by("second")).await, Ok(()));
    assert_eq!(api.issuer.fetches(), 2);
    for number in 0..100_000 {
        let unknown = with_key_id(&format!("unknown-{number}"));
        assert_eq!(api.authenticate(&unknown).await, Err(Reason::KeyUnknown));
        api.clock.set_later(300 + number / 500);
    }
    assert!(api.verifier.due_key_refresh().is_none());
    assert_eq!(api.issuer.fetches(), 0);
    api.clock.set_later(600);
    assert_eq!(
        api.authenticate(&with_key_id("unknown")).await,
        Err(Reason::KeyUnknown)
    );
    assert_eq!(api.issuer.fetches(), 2);
    assert_eq!(api.verify(&signed_by("second")), Ok(()));
}

#[tokio::test]
async fn concurrent_requests_share_one_fetch() {
    let api = Api::started(&keys(&["any"])).await;
    api.clock.advance(300);
    api.issuer.publish_keys(&keys(&["any", "second"]));
    let gate = api.issuer.close_gate();
    let token = signed_by("second");
    let waiting: Vec<_> = (0..50).map(|_| api.authenticate(&token)).collect();
    let opened = async {
        // Both documents.
        for _ in 0..2 {
            gate.notify_one();
            tokio::task::yield_now().await;
        }
    };
    let (results, ()) = tokio::join!(join_all(waiting), opened);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(api.issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn request_waits_for_keys_for_a_second_at_most() {
    let api = Api::started(&keys(&["any"])).await;
    api.clock.advance(300);
    let _gate = api.issuer.close_gate();
    let started = tokio::time::Instant::now();
    assert_eq!(
        api.authenticate(&signed_by("second")).await,
        Err(Reason::KeyUnknown)
    );
    assert_eq!(started.elapsed().as_secs(), 1);
    // Known keys need no wait.
    assert_eq!(api.authenticate(&token(2)).await, Ok(()));
    assert_eq!(started.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn last_keys_are_used_while_the_issuer_does_not_respond() {
    let api = Api::started(&keys(&["any"])).await;
    let token = made(json!({ "claims": { "exp": { "now": 200_000 } } }));
    let _gate = api.issuer.close_gate();
    api.clock.advance(5 * 3600);
    let started = tokio::time::Instant::now();
    assert_eq!(api.authenticate(&token).await, Ok(()));
    assert_eq!(started.elapsed().as_secs(), 1);
    // The others do not wait.
    assert_eq!(api.authenticate(&token).await, Ok(()));
    assert_eq!(started.elapsed().as_secs(), 1);
}

#[tokio::test]
async fn request_that_is_cancelled_does_not_cancel_the_fetch() {
    let api = Api::started(&keys(&["any"])).await;
    api.clock.advance(300);
    api.issuer.publish_keys(&keys(&["any", "second"]));
    let gate = api.issuer.close_gate();
    let token = signed_by("second");
    {
        let mut cancelled = std::pin::pin!(api.authenticate(&token));
        assert!(futures_poll(cancelled.as_mut()).await.is_none());
    }
    for _ in 0..2 {
        gate.notify_one();
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(api.verify(&token), Ok(()));
}

#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
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
    api.clock.jump(6 * 3600);
    assert_eq!(api.authenticate(&expiring).await, Err(Reason::TokenExpired));
    assert_eq!(api.authenticate(&kept).await, Ok(()));
    assert_eq!(api.authenticate(&retired).await, Err(Reason::KeyUnknown));
    assert!(api.issuer.fetches() > 0);
    // Back: fresh tokens are accepted again, and the retired key is not.
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

#[tokio::test]
async fn unusable_documents_change_nothing() {
    let api = Api::started(&keys(&["any"])).await;
    let token = made(json!({ "claims": { "exp": { "now": 200_000 } } }));
    let keys_url = format!("{HOST}/{TENANT}/discovery/v2.0/keys");
    let twice = json!({ "keys": [keys(&["any"])["keys"][0], keys(&["any"])["keys"][0]] });
    let documents = [
        b"<html>sign in</html>".to_vec(),
        b"{}".to_vec(),
        br#"{"keys":[]}"#.to_vec(),
        twice.to_string().into_bytes(),
        vec![b' '; 2 << 20],
    ];
    for document in documents {
        api.issuer.publish_text(&keys_url, &document);
        api.clock.advance(3600);
        api.verifier.fetch_due_keys().await;
        assert_eq!(api.verify(&token), Ok(()));
        assert!(api.verifier.has_keys());
        let failed = api
            .verifier
            .key_status()
            .iter()
            .any(|keys| keys.error().is_some());
        assert!(
            failed,
            "{}",
            String::from_utf8_lossy(&document[..20.min(document.len())])
        );
    }
    let foreign = json!({ "issuer": v2_issuer("11111111-86f1-41af-91ab-2d7cd011db47"), "jwks_uri": keys_url });
    let elsewhere = json!({ "issuer": v2_issuer(TENANT), "jwks_uri": "https://evil.example/keys" });
    api.issuer.fetches();
    for metadata in [foreign, elsewhere] {
        api.issuer.publish_metadata("/v2.0", &metadata);
        api.clock.advance(3600);
        api.verifier.fetch_due_keys().await;
        let fetched = std::mem::take(&mut api.issuer.0.lock().unwrap().fetched);
        assert!(
            fetched.iter().all(|url| url.starts_with(HOST)),
            "{fetched:?}"
        );
        assert_eq!(fetched.len(), 3, "{fetched:?}");
        assert_eq!(api.verify(&token), Ok(()));
    }
}

/// By the clock of the verifier, each document takes as long as the interval between attempts.
#[tokio::test]
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

#[tokio::test]
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

#[tokio::test]
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

#[test]
fn key_set_has_usable_keys_only() {
    let parse = |keys: &Value| KeySet::parse(keys.to_string().as_bytes());
    let set = parse(&issuer().key_set()).unwrap();
    let mut ids: Vec<_> = set.ids().collect();
    ids.sort_unstable();
    assert_eq!(ids, ["any", "foreign", "second", "v2"]);
    let good = keys(&["any"])["keys"][0].clone();
    let with = |member: &str, value: Value| {
        let mut key = good.clone();
        key[member] = value;
        json!({ "keys": [key] })
    };
    let rsa = |bits| openssl::rsa::Rsa::generate(bits).unwrap().n().to_vec();
    use base64::Engine as _;
    let encode =
        |bytes: &[u8]| Value::from(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes));
    for (keys, error) in [
        (json!({}), KeySetError::Malformed),
        (json!([]), KeySetError::Malformed),
        (json!({ "keys": {} }), KeySetError::Malformed),
        (json!({ "keys": [7] }), KeySetError::Malformed),
        (json!({ "keys": [] }), KeySetError::NoKey),
        (with("kid", Value::Null), KeySetError::NoKey),
        (with("kid", json!(7)), KeySetError::Malformed),
        (with("use", json!("enc")), KeySetError::NoKey),
        (with("alg", json!("RS512")), KeySetError::NoKey),
        (with("kty", json!("EC")), KeySetError::NoKey),
        (with("n", json!("")), KeySetError::NoKey),
        (with("n", json!("not base64")), KeySetError::NoKey),
        (with("n", encode(&rsa(1024))), KeySetError::NoKey),
        (with("n", encode(&vec![0xff; 513])), KeySetError::NoKey),
        (
            with("n", encode(&[vec![0xff; 255], vec![0xfe]].concat())),
            KeySetError::NoKey,
        ),
        (with("e", json!("AQ")), KeySetError::NoKey),
        (with("e", json!("AA")), KeySetError::NoKey),
        (with("e", encode(&[2])), KeySetError::NoKey),
        (with("e", encode(&[0xff; 9])), KeySetError::NoKey),
        (json!({ "keys": [good, good] }), KeySetError::DuplicateId),
        (
            json!({ "keys": vec![json!({ "kty": "oct" }); 1001] }),
            KeySetError::TooManyKeys,
        ),
    ] {
        assert_eq!(parse(&keys).err(), Some(error), "{keys}");
    }
    assert_eq!(
        KeySet::parse(&[b' '; (1 << 20) + 1]).err(),
        Some(KeySetError::TooLong)
    );
    assert_eq!(KeySet::parse(b"\xff").err(), Some(KeySetError::Malformed));
}

/// Not signed, as the key is unknown.
fn with_key_id(id: &str) -> String {
    use base64::Engine as _;
    let header = json!({ "alg": "RS256", "kid": id }).to_string();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
    let token = token_once();
    let (_, rest) = token.split_once('.').unwrap();
    format!("{header}.{rest}")
}

fn token_once() -> &'static str {
    static TOKEN: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| token(2));
    &TOKEN
}

async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}

/// Polls a future some times.
async fn futures_poll<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    for _ in 0..3 {
        if let std::task::Poll::Ready(output) = futures_util::poll!(&mut future) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}
