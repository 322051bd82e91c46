//! Keys that were not refreshed for hours: whether they are used while they are refreshed.
use crate::support::discovered::{Api, FakeIssuer, keys, made};
use futures_util::future::join_all;
use keybound_resource::{Guid, Reason, SharedKeys};
use keybound_testing::attacks::TENANT;
use serde_json::json;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn retired_key_is_refused_after_a_night_without_requests() {
    for version in [1, 2] {
        for is_cached in [false, true] {
            let api = Api::started(&keys(&["any", "second"])).await;
            let token = lasting(version, "second");
            if is_cached {
                assert_eq!(api.authenticate(&token).await, Ok(()));
            }
            api.issuer.publish_keys(&keys(&["any"]));
            api.clock.advance(8 * HOUR);
            let first = api.authenticate(&token).await;
            assert_eq!(first, Err(Reason::KeyUnknown), "{version} {is_cached}");
            let kept = lasting(version, "any");
            assert_eq!(api.authenticate(&kept).await, Ok(()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_wait_for_the_refresh_of_old_keys() {
    for version in [1, 2] {
        let api = Api::started(&keys(&["any", "second"])).await;
        let (retired, kept) = (lasting(version, "second"), lasting(version, "any"));
        assert_eq!(api.authenticate(&retired).await, Ok(()));
        api.issuer.publish_keys(&keys(&["any"]));
        api.clock.advance(8 * HOUR);
        let tokens = [&retired, &retired, &kept, &kept, &retired];
        let requests = tokens.iter().map(|token| api.authenticate(token));
        let unknown = Err(Reason::KeyUnknown);
        let expected = [unknown, unknown, Ok(()), Ok(()), unknown];
        assert_eq!(join_all(requests).await, expected, "{version}");
        assert_eq!(api.issuer.fetches(), 4, "two documents of two versions");
    }
}

/// It was started by a timer, or for another verifier.
#[tokio::test(start_paused = true)]
async fn old_keys_verify_nothing_while_a_refresh_runs() {
    let shared = SharedKeys::new();
    let issuer = FakeIssuer::with_keys(&keys(&["any", "second"]));
    let api = || {
        Api::with(issuer.clone(), |builder| {
            let tenant = Guid::parse(TENANT).unwrap();
            builder.tenant(tenant).shared_keys(&shared)
        })
    };
    let (first, second) = (api(), api());
    first.verifier.fetch_due_keys().await;
    let tokens = [1, 2].map(|version| lasting(version, "second"));
    for token in &tokens {
        assert_eq!(
            (first.verify(token), second.verify(token)),
            (Ok(()), Ok(()))
        );
    }
    issuer.publish_keys(&keys(&["any"]));
    let gate = issuer.close_gate();
    for api in [&first, &second] {
        api.clock.advance(8 * HOUR);
    }
    let due = std::iter::from_fn(|| first.verifier.due_key_refresh());
    let running: Vec<_> = due.map(|refresh| tokio::spawn(refresh.run())).collect();
    assert_eq!(running.len(), 2, "two versions");
    for api in [&first, &second] {
        for token in &tokens {
            assert_eq!(api.verify(token), Err(Reason::KeysUnavailable));
        }
    }
    issuer.open_gate(&gate);
    for refresh in running {
        refresh.await.unwrap().unwrap();
    }
    for api in [&first, &second] {
        for token in &tokens {
            assert_eq!(api.verify(token), Err(Reason::KeyUnknown));
        }
    }
}

/// The first request of each attempt waits for a second, and not the others.
#[tokio::test(start_paused = true)]
async fn requests_wait_once_for_each_refresh_of_an_issuer_that_hangs() {
    let api = Api::started(&keys(&["any"])).await;
    let tokens = [1, 2].map(|version| lasting(version, "any"));
    let _gate = api.issuer.close_gate();
    let mut waited = 0;
    for minute in 1..23 * 60 {
        api.clock.advance(60);
        let started = Instant::now();
        for token in tokens.iter().cycle().take(10) {
            assert_eq!(api.authenticate(token).await, Ok(()), "{minute}");
        }
        let seconds = started.elapsed().as_secs();
        assert!(seconds <= 2, "{minute}: {seconds} s for two issuers");
        waited += seconds;
    }
    assert!(waited >= 2 * 60, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_an_issuer_that_fails() {
    let api = Api::started(&keys(&["any"])).await;
    let tokens = [1, 2].map(|version| lasting(version, "any"));
    api.issuer.fail();
    let started = Instant::now();
    for minute in 1..23 * 60 {
        api.clock.advance(60);
        for token in tokens.iter().cycle().take(4) {
            assert_eq!(api.authenticate(token).await, Ok(()), "{minute}");
        }
    }
    assert_eq!(started.elapsed().as_secs(), 0);
    // One attempt a minute for each version.
    let fetches = api.issuer.fetches();
    assert!((2 * 21 * 60..=2 * 23 * 60).contains(&fetches), "{fetches}");
    // Without a wait: what the last attempt allows.
    assert!(tokens.iter().all(|token| api.verify(token) == Ok(())));
    api.clock.advance(60);
    let unavailable = Err(Reason::KeysUnavailable);
    assert!(tokens.iter().all(|token| api.verify(token) == unavailable));
}

/// Its key is withdrawn while the issuer is slow: the last keys are used until the refresh ends, and not longer.
#[tokio::test(start_paused = true)]
async fn refresh_that_ends_late_ends_the_use_of_the_last_keys() {
    let api = Api::started(&keys(&["any", "second"])).await;
    let token = lasting(2, "second");
    api.issuer.publish_keys(&keys(&["any"]));
    let gate = api.issuer.close_gate();
    api.clock.advance(8 * HOUR);
    for _ in 0..3 {
        assert_eq!(api.authenticate(&token).await, Ok(()));
    }
    api.issuer.open_gate(&gate);
    let is_old = || {
        let mut keys = api.verifier.key_status().into_iter();
        keys.any(|keys| keys.age().unwrap().as_secs() > 0)
    };
    for _ in 0..1000 {
        if !is_old() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(!is_old(), "the refresh does not end");
    assert_eq!(api.authenticate(&token).await, Err(Reason::KeyUnknown));
}

/// Longer than the longest test.
fn lasting(version: u8, key: &str) -> String {
    made(json!({ "version": version, "key": key, "claims": { "exp": { "now": 200_000 } } }))
}

const HOUR: u64 = 3600;
