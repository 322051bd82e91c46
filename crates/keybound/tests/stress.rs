//! Ten thousand callers at once, on two hundred resources, most of whom go away.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#[path = "stress/crowd.rs"]
mod crowd;

use crowd::{CALLERS, Crowd, RESOURCES};
use fastrand::Rng;
use futures_util::FutureExt as _;
use keybound::{ErrorKind, TokenRequest, TokenSource};
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patient_callers_cost_one_certificate_and_a_token_for_each_resource() {
    let crowd = Crowd::new();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let resource = caller % RESOURCES;
        let call = crowd.ask(crowd.request(resource));
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
    crowd.assert_counts(1, 1, RESOURCES);
    crowd.assert_nothing_is_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_who_go_away_cost_the_patient_ones_nothing() {
    let crowd = Crowd::new();
    crowd.inject("metadata=delay:300*1");
    let mut patient = JoinSet::new();
    for resource in 0..RESOURCES {
        // On the board, before anybody else comes.
        let mut call = Box::pin(crowd.ask(crowd.request(resource)));
        assert!((&mut call).now_or_never().is_none());
        patient.spawn(async move { (resource, call.await) });
    }
    let outcomes = crowd
        .let_come_and_go(CALLERS - RESOURCES, SOME_STAY, Rng::with_seed(1))
        .await;
    while let Some(outcomes) = patient.join_next().await {
        let (resource, token) = outcomes.unwrap();
        crowd.assert_for(resource, &token.unwrap());
    }
    assert!(
        outcomes.gone > 0 && outcomes.late > 0 && outcomes.served > 0,
        "{outcomes:?}"
    );
    crowd.assert_counts(1, 1, RESOURCES);
    crowd.assert_nothing_is_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flights_that_everybody_left_leave_nothing_behind() {
    let crowd = Crowd::new();
    // IMDS says nothing as long as they come and go.
    crowd.inject("metadata=hang*always");
    let outcomes = crowd
        .let_come_and_go(CALLERS, NOBODY_STAYS, Rng::with_seed(2))
        .await;
    assert_eq!(outcomes.served, 0, "{outcomes:?}");
    assert_eq!(crowd.count("issue") + crowd.count("token"), 0);
    let asked_in_vain = crowd.count("metadata");
    crowd.clear_faults();
    for resource in 0..RESOURCES {
        let token = crowd.client().acquire_token(&crowd.request(resource)).await;
        let token = token.unwrap();
        assert_eq!(token.source(), TokenSource::IdentityProvider);
        crowd.assert_for(resource, &token);
    }
    crowd.assert_counts(asked_in_vain + 1, 1, RESOURCES);
    crowd.assert_nothing_is_left();
}

impl Crowd {
    /// So many callers, of whom each is dropped after a while, has a deadline, or stays for as long as it takes.
    async fn let_come_and_go(&self, callers: usize, kinds: usize, mut chance: Rng) -> Outcomes {
        let mut crowd = JoinSet::new();
        for _ in 0..callers {
            let resource = chance.usize(..RESOURCES);
            let request = self.request(resource);
            let patience = Duration::from_micros(chance.u64(..200_000));
            let call = match chance.usize(..kinds) {
                0 => self.dropped_after(patience, request).boxed(),
                1 => self.with_deadline(patience, request).boxed(),
                _ => self.ask(request).map(Some).boxed(),
            };
            crowd.spawn(async move { (resource, call.await) });
        }
        let mut outcomes = Outcomes::default();
        while let Some(answer) = crowd.join_next().await {
            let (resource, answer) = answer.unwrap();
            match answer {
                None => outcomes.gone += 1,
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::DeadlineReached, "{error:?}");
                    outcomes.late += 1;
                }
                Some(Ok(token)) => {
                    self.assert_for(resource, &token);
                    outcomes.served += 1;
                }
            }
        }
        outcomes
    }

    fn dropped_after(
        &self,
        patience: Duration,
        request: TokenRequest,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let call = self.ask(request);
        async move { tokio::time::timeout(patience, call).await.ok() }
    }

    fn with_deadline(
        &self,
        patience: Duration,
        request: TokenRequest,
    ) -> impl Future<Output = Answer> + Send + use<> {
        self.ask(request.timeout(patience)).map(Some)
    }

    /// A call that a task may own.
    fn ask(
        &self,
        request: TokenRequest,
    ) -> impl Future<Output = keybound::Result<keybound::AccessToken>> + Send + use<> {
        let client = self.client().clone();
        async move { client.acquire_token(&request).await }
    }
}

type Answer = Option<keybound::Result<keybound::AccessToken>>;

/// What became of a crowd.
#[derive(Debug, Default)]
struct Outcomes {
    gone: usize,
    late: usize,
    served: usize,
}

const SOME_STAY: usize = 3;
const NOBODY_STAYS: usize = 2;
