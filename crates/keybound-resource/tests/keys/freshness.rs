//! Keys that were not refreshed for hours: whether they are used while they are refreshed.
use crate::support::discovered::{Api, FakeIssuer, keys, made};
use futures_util::future::join_all;
use keybound_resource::{Guid, Reason, SharedKeys};
use keybound_testing::attacks::TENANT;
use serde_json::json;
use std::time::Duration;
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

/// After hours without requests, when nothing else shows that the last keys are still those of the issuer.
#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_first_attempt_only_of_an_issuer_that_hangs() {
    let api = Api::started(&keys(&["any"])).await;
    let tokens = [1, 2].map(|version| lasting(version, "any"));
    let _gate = api.issuer.close_gate();
    api.clock.advance(8 * HOUR);
    let fetched = api.issuer.fetches();
    for minute in 0..3 * 60 {
        let started = Instant::now();
        let requests = tokens.iter().cycle().take(20);
        let decided = join_all(requests.map(|token| api.authenticate(token))).await;
        assert!(decided.iter().all(Result::is_ok), "{minute}: {decided:?}");
        let waited = started.elapsed().as_secs();
        assert_eq!(waited, u64::from(minute == 0), "{minute}");
        for second in (5..=60).step_by(5) {
            api.clock.advance(5);
            tokio::time::advance(Duration::from_secs(5)).await;
            for token in &tokens {
                assert_eq!(api.verify(token), Ok(()), "{minute}:{second}");
            }
        }
    }
    let attempts = api.issuer.fetches() - fetched;
    assert!((100..=2 * 181).contains(&attempts), "{attempts}");
}

/// They have no limit of time, and each is replaced by another one.
#[tokio::test]
async fn last_keys_remain_in_use_while_refreshes_do_not_end() {
    let api = Api::started(&keys(&["any"])).await;
    let token = lasting(2, "any");
    let _gate = api.issuer.close_gate();
    api.clock.advance(8 * HOUR);
    let mut running = Vec::new();
    for second in 0..HOUR {
        while second % 45 == 0
            && let Some(refresh) = api.verifier.due_key_refresh()
        {
            let mut refresh = Box::pin(refresh.run());
            assert!(futures_util::poll!(&mut refresh).is_pending());
            running.push(refresh);
        }
        let expected = match second {
            0..=1 => Err(Reason::KeysUnavailable),
            _ => Ok(()),
        };
        assert_eq!(api.verify(&token), expected, "{second}");
        api.clock.advance(1);
    }
    // The last one was started before the night, and shows nothing about the keys after it.
    api.clock.advance(8 * HOUR);
    assert_eq!(api.verify(&token), Err(Reason::KeysUnavailable));
    let _replacing: Vec<_> = std::iter::from_fn(|| api.verifier.due_key_refresh()).collect();
    assert_eq!(api.verify(&token), Err(Reason::KeysUnavailable));
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
        // The attempt of this minute, which none of them waits for.
        tokio::task::yield_now().await;
    }
    assert_eq!(started.elapsed().as_secs(), 0);
    // One attempt a minute for each version.
    let fetches = api.issuer.fetches();
    assert!((2 * 21 * 60..=2 * 23 * 60).contains(&fetches), "{fetches}");
    // Without a wait: what the last attempt allows.
    api.clock.advance(179);
    assert!(tokens.iter().all(|token| api.verify(token) == Ok(())));
    api.clock.advance(1);
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
