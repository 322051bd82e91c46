//! Renewal of certificates and tokens under full load: no call fails, and no call is sent with a token and a certificate that
//! do not match. The emulator checks each request, and the calls are counted on both sides, so that none succeeds by a retry
//! only.
//!
//! The renewals follow each other without a pause. With `KEYBOUND_LONG_TESTS=1` there is one every second, for a minute:
//! `KEYBOUND_LONG_TESTS=1 cargo test --release --package keybound --test rotation -- --nocapture`
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
use keybound::http::ResourceClient;
use keybound::{KeyRequirements, KeyStrength, TokenRequest};
use keybound_emulator::{AttestationRule, Config};
use keybound_testing::emulated::{GRAPH, TestHost, VAULT};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_under_load_fail_no_call_and_mix_no_pairs() {
    let long = std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1");
    let (renewals, pace) = match long {
        true => (60, Duration::from_secs(1)),
        false => (8, Duration::ZERO),
    };
    let started = Instant::now();
    let test = Arc::new(RotationTest::new());
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(Arc::clone(&test).work(worker));
    }
    // A missing renewal fails the test instead of blocking it.
    let limit = pace.saturating_mul(renewals) + Duration::from_secs(120);
    let renewed = timeout(limit, test.renew(renewals, pace)).await;
    test.stop.store(true, Ordering::Relaxed);
    for worker in workers.join_all().await {
        assert_eq!(worker, Ok(()));
    }
    assert!(renewed.is_ok(), "the renewals did not finish in time");
    let calls: u64 = test.calls().iter().sum();
    let counts = test.host.emulator.counts();
    println!(
        "{calls} calls, {} certificates, {} tokens, {} connections in {:.1} s: 0 failed",
        counts["issue"],
        counts["token"],
        counts["graph-tls"] + counts["vault-tls"],
        started.elapsed().as_secs_f64(),
    );
    assert_eq!(
        counts["graph"] + counts["vault"],
        calls,
        "a call was sent twice"
    );
    let certificates = 1 + u64::from(renewals);
    assert_eq!(counts["issue"], certificates);
    assert!(counts["token"] >= 2 * certificates);
    assert_eq!(test.certificates() as u64, certificates);
}

/// One client under load, and the outcomes of its calls.
struct RotationTest {
    host: TestHost,
    resources: [(ResourceClient, String); 2],
    /// Set at the end, and by a failed call.
    stop: AtomicBool,
    /// The number of completed calls of each worker.
    calls: Vec<AtomicU64>,
    /// The thumbprints that calls were sent with.
    certificates: Mutex<HashSet<String>>,
}

impl RotationTest {
    fn new() -> Self {
        let mut config = Config::default();
        config.imds.attestation = AttestationRule::Optional;
        config.imds.certificate_lifetime_seconds = LIFETIME;
        config.entra.token_lifetime_seconds = LIFETIME;
        let host = TestHost::with(config);
        let client = host.builder_for_platform().build().unwrap();
        let resource = |name| {
            let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
            let request = TokenRequest::pop(name, requirements);
            ResourceClient::new(&client, request).unwrap()
        };
        Self {
            resources: [
                (resource(GRAPH), host.graph_url()),
                (resource(VAULT), host.secret_url()),
            ],
            host,
            stop: AtomicBool::new(false),
            calls: (0..WORKERS).map(|_| AtomicU64::new(0)).collect(),
            certificates: Mutex::default(),
        }
    }

    /// Calls without a pause until it is stopped or a call fails.
    async fn work(self: Arc<Self>, worker: usize) -> Result<(), String> {
        let (resource, url) = &self.resources[worker % 2];
        while !self.stopped() {
            let certificate = call(resource, url).await.inspect_err(|_| {
                self.stop.store(true, Ordering::Relaxed);
            })?;
            self.certificates.lock().unwrap().insert(certificate);
            self.calls[worker].fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes renewals due, each one after every worker has used the previous certificate: two intervals are longer than a
    /// certificate's lifetime.
    async fn renew(&self, renewals: u32, pace: Duration) {
        self.wait_for_every_worker().await;
        for _ in 0..renewals {
            let due = Instant::now() + pace;
            let certificates = self.certificates();
            self.host.emulator.clock().advance(RENEWAL_INTERVAL);
            self.wait_until(|| self.certificates() > certificates).await;
            self.wait_for_every_worker().await;
            sleep_until(due).await;
        }
    }

    /// Waits until every worker has completed its current call and another one.
    async fn wait_for_every_worker(&self) {
        let before = self.calls();
        let all =
            || std::iter::zip(self.calls(), &before).all(|(calls, before)| calls >= before + 2);
        self.wait_until(all).await;
    }

    /// Waits for an event, or a failed call.
    async fn wait_until(&self, event: impl Fn() -> bool) {
        while !event() && !self.stopped() {
            sleep(POLL_INTERVAL).await;
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn calls(&self) -> Vec<u64> {
        let calls = self.calls.iter();
        calls.map(|calls| calls.load(Ordering::Relaxed)).collect()
    }

    fn certificates(&self) -> usize {
        self.certificates.lock().unwrap().len()
    }
}

/// Returns the thumbprint of the certificate that the call was sent with.
async fn call(resource: &ResourceClient, url: &str) -> Result<String, String> {
    let response = resource
        .get(url)
        .send()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let token = response.token();
    let binding = token.binding().unwrap();
    let certificate = binding.certificate().thumbprints().x5t_s256.to_string();
    match response.bytes_limited(64 * 1024).await {
        Ok(body) if status == 200 && !body.is_empty() => Ok(certificate),
        body => Err(format!("{status} {body:?}")),
    }
}

const WORKERS: usize = 16;
/// Of certificates and tokens, in seconds: ten days.
const LIFETIME: u32 = 864_000;
/// In seconds: six days. A certificate of ten days is renewed after at most five and a half.
const RENEWAL_INTERVAL: i64 = 518_400;
const POLL_INTERVAL: Duration = Duration::from_millis(2);
