//! When keys are refreshed: at rollovers, by clocks that are set, and with fetchers that hang.
use crate::support::TestClock;
use crate::support::discovered::{Api, FakeIssuer, keys, made, signed_by};
use keybound_resource::{
    Clock, FetchFuture, Guid, KeyFetcher, Keys, Reason, SharedClock, SharedKeys, VerifierBuilder,
};
use keybound_testing::attacks::TENANT;
use serde_json::json;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

/// Whenever the clock is read during the request.
#[tokio::test(start_paused = true)]
async fn key_that_arrives_during_a_request_is_found() {
    for reading in 1..=4 {
        let clock = ActingClock::default();
        let issuer = FakeIssuer::with_keys(&keys(&["any"]));
        let api = Api::with(issuer, |builder| {
            builder.tenant(guid(TENANT)).clock(clock.clone())
        });
        api.verifier.fetch_due_keys().await;
        clock.time.advance(300);
        api.issuer.publish_keys(&keys(&["any", "second"]));
        let token = signed_by("second");
        let header = format!("mtls_pop {token}");
        let refused = api.verifier.verify(header.as_str(), &api.certificate);
        let refresh = refused.unwrap_err().take_key_refresh().unwrap();
        clock.act_at(reading, move || {
            let running = pin!(refresh.run());
            let mut context = Context::from_waker(Waker::noop());
            assert!(running.poll(&mut context).is_ready());
        });
        assert_eq!(api.authenticate(&token).await, Ok(()), "{reading}");
    }
}

/// The keys have the clock of another verifier, which is read while the cached decision is looked at.
#[tokio::test]
async fn key_that_is_withdrawn_during_a_request_is_refused_also_from_the_cache() {
    let clock = ActingClock::default();
    let shared = SharedKeys::new();
    let issuer = FakeIssuer::with_keys(&keys(&["any", "second"]));
    let _first = Api::with(issuer.clone(), |builder| {
        let builder = builder.tenant(guid(TENANT)).clock(clock.clone());
        builder.shared_keys(&shared)
    });
    let api = Api::with(issuer, |builder| {
        builder.tenant(guid(TENANT)).shared_keys(&shared)
    });
    api.verifier.fetch_due_keys().await;
    let token = signed_by("second");
    assert_eq!(api.verify(&token), Ok(()));
    api.issuer.publish_keys(&keys(&["any"]));
    clock.time.advance(8 * 3600);
    let due: Vec<_> = std::iter::from_fn(|| api.verifier.due_key_refresh()).collect();
    assert_eq!(due.len(), 2, "two versions");
    clock.act_at(1, move || {
        for refresh in due {
            let running = pin!(refresh.run());
            let mut context = Context::from_waker(Waker::noop());
            assert!(running.poll(&mut context).is_ready());
        }
    });
    assert_eq!(api.verify(&token), Err(Reason::KeyUnknown));
}

#[tokio::test]
async fn clock_that_was_set_forward_and_back_delays_no_due_refresh() {
    let api = Api::started(&keys(&["any"])).await;
    let run_due = async || {
        let mut refreshes = 0;
        while let Some(refresh) = api.verifier.due_key_refresh() {
            refresh.run().await.unwrap();
            refreshes += 1;
        }
        refreshes
    };
    for hours in [10, -10] {
        api.clock.advance(5);
        api.clock.jump(hours * 3600);
        assert_eq!(run_due().await, 2, "two versions, {hours}");
    }
}

/// Such as one that was started before its host's clock was set.
#[tokio::test]
async fn verifiers_whose_clocks_differ_do_not_refresh_in_turn() {
    let shared = SharedKeys::new();
    let issuer = FakeIssuer::with_keys(&keys(&["any"]));
    let api = |ahead: i64| {
        let clock = TestClock::new();
        clock.jump(ahead);
        let mut api = Api::with(issuer.clone(), |builder| {
            let builder = builder.tenant(guid(TENANT)).clock(clock.clone());
            builder.shared_keys(&shared)
        });
        api.clock = clock;
        api
    };
    let apis = [api(0), api(6 * 3600)];
    let unknown = made(json!({ "kid": "unknown", "claims": { "exp": { "now": 200_000 } } }));
    let known = made(json!({ "claims": { "exp": { "now": 200_000 } } }));
    for _ in 0..59 {
        for api in &apis {
            assert_eq!(api.authenticate(&known).await, Ok(()));
            assert_eq!(api.authenticate(&unknown).await, Err(Reason::KeyUnknown));
            api.clock.advance(10);
        }
    }
    // Both versions at the start, and the second one after five minutes, as a key was unknown.
    assert_eq!(issuer.fetches(), 6);
}

#[tokio::test]
async fn old_keys_are_used_when_a_refresh_takes_longer_than_requests_wait() {
    let api = Api::started(&keys(&["any"])).await;
    let token = made(json!({ "claims": { "exp": { "now": 200_000 } } }));
    let _gate = api.issuer.close_gate();
    api.clock.advance(8 * 3600);
    let due = std::iter::from_fn(|| api.verifier.due_key_refresh());
    let mut running: Vec<_> = due.map(|refresh| Box::pin(refresh.run())).collect();
    for refresh in &mut running {
        assert!(futures_util::poll!(refresh).is_pending());
    }
    for expected in [Err(Reason::KeysUnavailable), Ok(())] {
        assert_eq!(api.verify(&token), expected);
        api.clock.advance(2);
    }
}

#[tokio::test(start_paused = true)]
async fn fetch_without_a_limit_of_time_ends_after_half_a_minute() {
    let fetcher = Hanging::default();
    let Hanging(held) = &fetcher;
    let api = Api::with(FakeIssuer::default(), |builder| {
        let keys = Keys::discovered(fetcher.clone());
        builder.tenant(guid(TENANT)).keys(keys)
    });
    let before = Arc::strong_count(held);
    let refused = api.authenticate(&signed_by("any")).await;
    assert_eq!(refused, Err(Reason::KeysUnavailable));
    assert_eq!(Arc::strong_count(held), before + 2, "two versions");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(Arc::strong_count(held), before);
    let status = api.verifier.key_status();
    assert!(status.iter().all(|keys| keys.error().is_some()));
}

#[tokio::test]
async fn what_has_expired_remains_expired_for_a_verifier_that_replaces_another() {
    let clock = TestClock::new();
    let shared = SharedClock::new(clock.clone());
    let api = async |settings: &dyn Fn(VerifierBuilder) -> VerifierBuilder| {
        let issuer = FakeIssuer::with_keys(&keys(&["any"]));
        let api = Api::with(issuer, |builder| settings(builder.tenant(guid(TENANT))));
        api.verifier.fetch_due_keys().await;
        api
    };
    let sharing = |builder: VerifierBuilder| builder.shared_clock(&shared);
    let token = signed_by("any");
    assert_eq!(api(&sharing).await.verify(&token), Ok(()));
    clock.advance(6 * 3600);
    assert_eq!(
        api(&sharing).await.verify(&token),
        Err(Reason::TokenExpired)
    );
    clock.jump(-6 * 3600);
    assert_eq!(
        api(&sharing).await.verify(&token),
        Err(Reason::TokenExpired)
    );
    let other = |builder: VerifierBuilder| builder.clock(clock.clone());
    assert_eq!(api(&other).await.verify(&token), Ok(()));
}

/// A clock that does something once, when it is read.
#[derive(Clone)]
struct ActingClock {
    time: TestClock,
    act: Arc<Mutex<Option<Act>>>,
}

struct Act {
    /// Readings until then.
    after: usize,
    act: Box<dyn FnOnce() + Send>,
}

impl Default for ActingClock {
    fn default() -> Self {
        Self {
            time: TestClock::new(),
            act: Arc::default(),
        }
    }
}

impl ActingClock {
    fn act_at(&self, reading: usize, act: impl FnOnce() + Send + 'static) {
        let after = reading - 1;
        let act = Box::new(act);
        *self.act.lock().unwrap() = Some(Act { after, act });
    }
}

impl Clock for ActingClock {
    fn wall(&self) -> Duration {
        let mut waiting = self.act.lock().unwrap();
        match waiting.take() {
            Some(Act { after: 0, act }) => {
                drop(waiting);
                act();
            }
            other => {
                *waiting = other.map(|act| Act {
                    after: act.after - 1,
                    ..act
                });
            }
        }
        self.time.wall()
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }
}

/// Its futures never end, and hold a value while they exist.
#[derive(Clone, Default)]
struct Hanging(Arc<()>);

impl KeyFetcher for Hanging {
    fn fetch<'a>(&'a self, _: &'a str) -> FetchFuture<'a> {
        let held = Arc::clone(&self.0);
        Box::pin(async move {
            let _held = held;
            std::future::pending().await
        })
    }
}

fn guid(text: &str) -> Guid {
    Guid::parse(text).unwrap()
}
