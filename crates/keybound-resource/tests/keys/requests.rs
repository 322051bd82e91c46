//! Requests whose keys are fetched. The clock of the runtime is paused: it advances only while all tasks wait.
use crate::support::discovered::{Api, FakeIssuer, keys, made, signed_by, token};
use crate::support::issuer;
use keybound_resource::Reason;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn first_request_waits_for_the_keys() {
    let api = Api::new(FakeIssuer::with_keys(&issuer().key_set()));
    assert_eq!(api.authenticate(&token(2)).await, Ok(()));
    assert_eq!(api.authenticate(&token(1)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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
