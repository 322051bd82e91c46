//! Certificates and tokens renewed under full load: no call fails, none goes out with a token and a certificate that do
//! not belong together. The emulator checks each request, and the calls are counted on both sides, so that none was
//! saved by a second attempt.
//!
//! The renewals follow each other as fast as they can. With `KEYBOUND_LONG_TESTS=1` there is one every second, for a minute:
//! `KEYBOUND_LONG_TESTS=1 cargo test --release --package keybound --test rotation -- --nocapture`
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::print_stdout, reason = "tells what was measured")]
use keybound::http::ResourceClient;
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{
    Clock, Environment, KeyRequirements, KeyStrength, ManagedIdentityClient, TokenRequest,
};
use keybound_emulator::{AttestationRule, Config, Emulator};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_under_load_fail_no_call_and_mix_no_pair() {
    if std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1") {
        rotate(60, Duration::from_secs(1)).await;
    } else {
        rotate(8, Duration::ZERO).await;
    }
}

async fn rotate(renewals: usize, pace: Duration) {
    let begun = Instant::now();
    let scene = Arc::new(Scene::new());
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(Arc::clone(&scene).work(worker));
    }
    // A renewal that does not come fails the test rather than holding it up.
    let longest = pace.saturating_mul(u32::try_from(renewals).unwrap()) + Duration::from_secs(120);
    let renewed = timeout(longest, scene.renew(renewals, pace)).await;
    scene.stop.store(true, Ordering::Relaxed);
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let failures = scene.failures.lock().unwrap();
    assert!(
        failures.is_empty(),
        "{} failed: {:?}",
        failures.len(),
        failures.first()
    );
    assert!(renewed.is_ok(), "the renewals did not come");
    let calls: usize = scene
        .calls
        .iter()
        .map(|calls| calls.load(Ordering::Relaxed))
        .sum();
    let counts = scene.emulator.counts();
    println!(
        "{calls} calls, {} certificates, {} tokens, {} connections in {:.1} s: 0 failed",
        counts["issue"],
        counts["token"],
        counts["graph-tls"] + counts["vault-tls"],
        begun.elapsed().as_secs_f64(),
    );
    assert_eq!(
        counts["graph"] + counts["vault"],
        calls as u64,
        "a call was made twice"
    );
    assert_eq!(counts["issue"], 1 + renewals as u64);
    assert!(counts["token"] >= 2 * (1 + renewals as u64));
    assert_eq!(scene.certificates.lock().unwrap().len(), 1 + renewals);
}

/// One client under load, and what came of its calls.
struct Scene {
    emulator: Arc<Emulator>,
    resources: [(ResourceClient, String); 2],
    stop: AtomicBool,
    /// Calls that ended, of each worker.
    calls: Vec<AtomicUsize>,
    /// Those that calls went out with.
    certificates: Mutex<HashSet<String>>,
    failures: Mutex<Vec<String>>,
}

impl Scene {
    fn new() -> Self {
        let mut config = Config::default();
        config.imds.attestation = AttestationRule::Optional;
        config.imds.certificate_lifetime_seconds = LIFE;
        config.entra.token_lifetime_seconds = LIFE;
        let emulator = Arc::new(Emulator::start(config).unwrap());
        let client = ManagedIdentityClient::builder()
            .tls_engine(TlsEngine::OpenSsl)
            .environment(Environment::empty())
            .imds_endpoint(emulator.ready().imds.as_str())
            .trust(TrustAnchors::system().with_pem(emulator.ca_pem()).unwrap())
            .clock(Arc::new(Shared(Arc::clone(&emulator))))
            .retries(false)
            .build()
            .unwrap();
        let resource = |name| {
            let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
            let request = TokenRequest::pop(name, requirements);
            ResourceClient::new(&client, request).unwrap()
        };
        let ready = emulator.ready();
        let at = |origin: &str, path| format!("{}{path}", origin.trim_end_matches('/'));
        let resources = [
            (
                resource("https://graph.microsoft.com"),
                at(&ready.graph, "/v1.0/applications?$top=1"),
            ),
            (
                resource("https://vault.azure.net"),
                at(&ready.vault, "/secrets/demo-secret?api-version=7.4"),
            ),
        ];
        Self {
            emulator,
            resources,
            stop: AtomicBool::new(false),
            calls: (0..WORKERS).map(|_| AtomicUsize::new(0)).collect(),
            certificates: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Calls without a pause until it is stopped.
    async fn work(self: Arc<Self>, worker: usize) {
        let (resource, url) = &self.resources[worker % 2];
        while !self.stop.load(Ordering::Relaxed) {
            match call(resource, url).await {
                Ok(certificate) => self.certificates.lock().unwrap().insert(certificate),
                Err(failure) => {
                    self.failures.lock().unwrap().push(failure);
                    false
                }
            };
            self.calls[worker].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets so many renewals fall due. Each is due only when every worker is past the one before, as two of them are
    /// longer than a certificate lives.
    async fn renew(&self, renewals: usize, pace: Duration) {
        self.every_worker_has_called().await;
        for renewal in 1..=renewals {
            if !self.is_well() {
                return;
            }
            let due = Instant::now() + pace;
            self.emulator.clock().advance(PAST_HALF_LIFE);
            while self.certificates.lock().unwrap().len() <= renewal && self.is_well() {
                sleep(A_MOMENT).await;
            }
            self.every_worker_has_called().await;
            sleep_until(due).await;
        }
    }

    fn is_well(&self) -> bool {
        self.failures.lock().unwrap().is_empty()
    }

    /// Waits until the calls under way have ended, and another of each worker.
    async fn every_worker_has_called(&self) {
        let count = |calls: &AtomicUsize| calls.load(Ordering::Relaxed);
        let before: Vec<usize> = self.calls.iter().map(count).collect();
        while self
            .calls
            .iter()
            .zip(&before)
            .any(|(calls, before)| count(calls) < before + 2)
        {
            sleep(A_MOMENT).await;
        }
    }
}

/// The thumbprint of the certificate that the call went out with.
async fn call(resource: &ResourceClient, url: &str) -> Result<String, String> {
    let answer = resource
        .get(url)
        .send()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let token = answer.token();
    let binding = token.binding().unwrap();
    let certificate = binding.certificate().thumbprints().x5t_s256.to_string();
    let body = answer.bytes_limited(64 * 1024).await;
    match body {
        Ok(body) if status == 200 && !body.is_empty() => Ok(certificate),
        body => Err(format!("{status} {body:?}")),
    }
}

/// The emulator's clock as the client's, so that both move together.
#[derive(Debug)]
struct Shared(Arc<Emulator>);

impl Clock for Shared {
    fn now(&self) -> SystemTime {
        self.0.clock().now()
    }
}

const WORKERS: usize = 16;
/// Of certificates and tokens: ten days.
const LIFE: u32 = 864_000;
/// Six days: a certificate of ten is renewed after at most five and a half.
const PAST_HALF_LIFE: i64 = 518_400;
const A_MOMENT: Duration = Duration::from_millis(2);
