//! Ten thousand concurrent callers, for two hundred resources, most of which cancel.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#[path = "stress/crowd.rs"]
mod crowd;

use crowd::{CALLERS, Crowd, RESOURCES};
use fastrand::Rng;
use futures_util::FutureExt as _;
use keybound::{ErrorKind, TokenRequest, TokenSource};
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_callers_share_one_certificate_and_one_token_per_resource() {
    let crowd = Crowd::new();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let resource = caller % RESOURCES;
        let call = crowd.acquire(crowd.request(resource));
        callers.spawn(async move { (resource, call.await) });
    }
    let mut issued = 0;
    while let Some(outcomes) = callers.join_next().await {
        let (resource, token) = outcomes.unwrap();
        let token = token.unwrap();
        crowd.assert_for(resource, &token);
        issued += usize::from(token.source() == TokenSource::IdentityProvider);
    }
    assert!(issued >= RESOURCES, "{issued}");
    crowd.assert_counts(1, 1, RESOURCES as u64);
    crowd.assert_freed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelled_callers_do_not_delay_the_others() {
    let crowd = Crowd::new();
    crowd.host.inject("metadata=delay:300*1");
    let mut waiting = JoinSet::new();
    for resource in 0..RESOURCES {
        // In flight before any other caller.
        let mut call = Box::pin(crowd.acquire(crowd.request(resource)));
        assert!((&mut call).now_or_never().is_none());
        waiting.spawn(async move { (resource, call.await) });
    }
    let outcomes = crowd
        .run_callers(CALLERS - RESOURCES, SOME_WAIT, Rng::with_seed(1))
        .await;
    while let Some(outcomes) = waiting.join_next().await {
        let (resource, token) = outcomes.unwrap();
        crowd.assert_for(resource, &token.unwrap());
    }
    assert!(
        outcomes.dropped > 0 && outcomes.timed_out > 0 && outcomes.succeeded > 0,
        "{outcomes:?}"
    );
    crowd.assert_counts(1, 1, RESOURCES as u64);
    crowd.assert_freed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn abandoned_flights_leave_no_state() {
    let crowd = Crowd::new();
    // IMDS does not respond while they run.
    crowd.host.inject("metadata=hang*always");
    let outcomes = crowd
        .run_callers(CALLERS, NONE_WAITS, Rng::with_seed(2))
        .await;
    assert_eq!(outcomes.succeeded, 0, "{outcomes:?}");
    assert_eq!(crowd.host.count("issue") + crowd.host.count("token"), 0);
    let failed_requests = crowd.host.count("metadata");
    crowd.host.emulator.clear_faults();
    for resource in 0..RESOURCES {
        let token = crowd.client.acquire_token(&crowd.request(resource)).await;
        let token = token.unwrap();
        assert_eq!(token.source(), TokenSource::IdentityProvider);
        crowd.assert_for(resource, &token);
    }
    crowd.assert_counts(failed_requests + 1, 1, RESOURCES as u64);
    crowd.assert_freed();
}

impl Crowd {
    /// Runs callers each of which is dropped, has a deadline, or waits for the result.
    async fn run_callers(&self, callers: usize, kinds: usize, mut chance: Rng) -> Outcomes {
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let resource = chance.usize(..RESOURCES);
            let request = self.request(resource);
            let timeout = Duration::from_micros(chance.u64(..200_000));
            let call = match chance.usize(..kinds) {
                0 => tokio::time::timeout(timeout, self.acquire(request))
                    .map(Result::ok)
                    .boxed(),
                1 => self.acquire(request.timeout(timeout)).map(Some).boxed(),
                _ => self.acquire(request).map(Some).boxed(),
            };
            tasks.spawn(async move { (resource, call.await) });
        }
        let mut outcomes = Outcomes::default();
        while let Some(outcome) = tasks.join_next().await {
            let (resource, outcome) = outcome.unwrap();
            match outcome {
                None => outcomes.dropped += 1,
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error:?}");
                    outcomes.timed_out += 1;
                }
                Some(Ok(token)) => {
                    self.assert_for(resource, &token);
                    outcomes.succeeded += 1;
                }
            }
        }
        outcomes
    }

    /// A call that a task can own.
    fn acquire(
        &self,
        request: TokenRequest,
    ) -> impl Future<Output = keybound::Result<keybound::AccessToken>> + Send + use<> {
        let client = self.client.clone();
        async move { client.acquire_token(&request).await }
    }
}

/// The number of callers by outcome.
#[derive(Debug, Default)]
struct Outcomes {
    dropped: usize,
    timed_out: usize,
    succeeded: usize,
}

const SOME_WAIT: usize = 3;
const NONE_WAITS: usize = 2;
