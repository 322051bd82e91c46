//! A resource that verifies tokens with the keys that Entra publishes, while these change.
//!
//! With `KEYBOUND_LONG_TESTS=1` there are more changes: `KEYBOUND_LONG_TESTS=1 cargo test --package keybound --test emulated key_rollover`
use keybound::{KeyRequirements, KeyStrength, TokenRequest};
use keybound_emulator::Config;
use keybound_resource::fetch::{HttpsKeyFetcher, HttpsSettings, TlsEngine};
use keybound_resource::{ClientCertificate, Issuer, Keys, Reason, TokenVersion, Verifier};
use keybound_testing::emulated::{TestHost, VAULT};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Valid tokens are accepted at each moment, those of a retired key are refused from the next refresh on, and each is refused with
/// another certificate. Keys are fetched once an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollovers_under_load_change_no_verdict() {
    let long = std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1");
    let rollovers = if long { 100 } else { 3 };
    let api = Arc::new(Api::started().await);
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(Arc::clone(&api).verify_until_stopped(worker));
    }
    // A missing verdict fails the test instead of blocking it.
    let limit = Duration::from_secs(60 + 10 * rollovers);
    let changed = timeout(limit, api.roll_over(rollovers)).await;
    api.stop.store(true, Ordering::Relaxed);
    for worker in workers.join_all().await {
        assert_eq!(worker, Ok(()));
    }
    assert!(changed.is_ok(), "the rollovers did not finish in time");
    println!("{} verdicts, 0 wrong", api.verdicts().iter().sum::<u64>());
    // The key sets of both versions.
    assert_eq!(api.host.count("keys"), 2 * (1 + rollovers));
}

/// Documents that an issuer must not publish, and faults of its server.
#[tokio::test]
async fn unusable_key_sets_change_nothing() {
    let api = Api::started().await;
    let [token, _] = &api.issue().await[..] else {
        panic!("two tokens were expected");
    };
    let after_refresh = async || {
        api.host.emulator.clock().advance(HOUR);
        api.verifier.fetch_due_keys().await;
        api.check(token)
    };
    for fault in [
        "keys=html",
        "keys=garbage",
        "keys=truncated",
        "keys=oversized:1048577",
        "keys=redirect",
        "keys=status:503",
        "keys=close",
        "keys=missing-field:keys",
        "keys=set-field:keys=[]",
        "discovery=html",
        "discovery=set-field:issuer=\"https://sts.example/\"",
        "discovery=set-field:jwks_uri=\"https://sts.example/keys\"",
    ] {
        api.host.inject(&format!("{fault}*always"));
        assert_eq!(after_refresh().await, Ok(()), "{fault}");
        let records = api.host.emulator.records();
        let last = records.iter().rev().find_map(|record| record.fault.clone());
        let (_, action) = fault.split_once('=').unwrap();
        assert_eq!(last.as_deref(), Some(action), "{fault}");
        api.host.emulator.clear_faults();
        assert_eq!(after_refresh().await, Ok(()), "{fault}");
    }
    // Another key under the same id, and other keys: the issuer's word counts.
    for (fault, reason) in [
        ("keys=other-key*2", Reason::SignatureInvalid),
        ("keys=foreign-key*2", Reason::KeyUnknown),
    ] {
        api.host.inject(fault);
        assert_eq!(after_refresh().await, Err(reason), "{fault}");
        assert_eq!(after_refresh().await, Ok(()), "{fault}");
    }
}

/// Keys of all tenants, among them one of another tenant.
#[tokio::test]
async fn key_of_another_tenant_signs_nothing_where_any_tenant_is_accepted() {
    let host = TestHost::with(Config::default());
    let api = Api::with(host, |builder| builder.any_tenant()).await;
    let [v1, v2] = &api.issue().await[..] else {
        panic!("two tokens were expected");
    };
    for token in [v1, v2] {
        assert_eq!(api.verify(token, &token.certificate).await, Ok(()));
    }
    api.host.inject("token=other-tenant-key*2");
    let [v1, v2] = &api.issue().await[..] else {
        panic!("two tokens were expected");
    };
    // The key set of version 1 does not name issuers, and does not contain that key.
    for (token, reason) in [(v1, Reason::KeyUnknown), (v2, Reason::KeyIssuerMismatch)] {
        let verdict = api.verify(token, &token.certificate).await;
        assert_eq!(verdict, Err(reason));
    }
}

/// An API with its verifier, the tokens that it knows, and the outcomes.
struct Api {
    host: TestHost,
    verifier: Verifier,
    tokens: Mutex<Vec<Arc<IssuedToken>>>,
    /// Held for a verification, and alone to advance the clock: a verification that read the time before would find that it was set
    /// back, and fetch the keys again.
    time: RwLock<()>,
    /// Set at the end, and by a wrong verdict.
    stop: AtomicBool,
    /// Requests since the last rollover that were sent again.
    repeats: AtomicUsize,
    /// The number of verdicts of each worker.
    verdicts: Vec<AtomicU64>,
}

struct IssuedToken {
    authorization: String,
    certificate: ClientCertificate,
    key: AtomicU8,
}

impl Api {
    async fn started() -> Self {
        let mut config = Config::default();
        config.entra.token_lifetime_seconds = LIFETIME;
        config.imds.certificate_lifetime_seconds = LIFETIME;
        let tenant = config.tenant_id.clone();
        Self::with(TestHost::with(config), |builder| builder.tenant(tenant)).await
    }

    async fn with(
        host: TestHost,
        tenants: impl FnOnce(keybound_resource::VerifierBuilder) -> keybound_resource::VerifierBuilder,
    ) -> Self {
        let settings = HttpsSettings {
            trust: host.trust(),
            engine: TlsEngine::OpenSsl,
            ..HttpsSettings::default()
        };
        let sts = host.emulator.ready().sts.trim_end_matches('/');
        let v1 = format!("{sts}/{{tenantid}}");
        let v2 = format!("{v1}/v2.0");
        let metadata = |base: &str| format!("{base}/.well-known/openid-configuration");
        let builder = Verifier::builder()
            .audience(VAULT)
            .audience(Config::default().resources[0].client_id.as_str())
            .issuer(
                Issuer::new(TokenVersion::V1, &format!("{v1}/"), &metadata(&v1)).key_issuer(&v2),
            )
            .issuer(Issuer::new(TokenVersion::V2, &v2, &metadata(&v2)))
            .keys(Keys::discovered(HttpsKeyFetcher::new(settings).unwrap()))
            .clock(host.emulator.clock().clone());
        let verifier = tenants(builder).build().unwrap();
        verifier.fetch_due_keys().await;
        assert!(verifier.has_keys());
        Self {
            host,
            verifier,
            tokens: Mutex::default(),
            time: RwLock::default(),
            stop: AtomicBool::new(false),
            repeats: AtomicUsize::new(0),
            verdicts: (0..WORKERS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// New tokens of version 1 and 2, with a new certificate.
    async fn issue(&self) -> Vec<Arc<IssuedToken>> {
        let client = self.host.builder().build().unwrap();
        let mut issued = Vec::new();
        for resource in [VAULT, &Config::default().resources[0].uri] {
            let requirements = KeyRequirements::attested().min_strength(KeyStrength::Software);
            let request = TokenRequest::pop(resource, requirements);
            let token = client.acquire_token(&request).await.unwrap();
            let der = token.binding().unwrap().certificate().der();
            issued.push(Arc::new(IssuedToken {
                authorization: format!("mtls_pop {}", token.secret().expose()),
                certificate: ClientCertificate::from_der(der).unwrap(),
                key: AtomicU8::new(PUBLISHED),
            }));
        }
        issued
    }

    /// The verdict. A request waits for new keys for a second at most, in which a busy machine does not fetch them at times: it is
    /// sent again then. All requests together have a few such repeats for each rollover.
    async fn verify(
        &self,
        token: &IssuedToken,
        certificate: &ClientCertificate,
    ) -> Result<(), Reason> {
        loop {
            let started = Instant::now();
            let verdict = self.verify_once(token, certificate).await;
            if verdict != Err(Reason::KeyUnknown) || started.elapsed() < MAX_WAIT {
                return verdict;
            }
            if self.repeats.fetch_add(1, Ordering::Relaxed) >= MAX_REPEATS {
                return verdict;
            }
        }
    }

    async fn verify_once(
        &self,
        token: &IssuedToken,
        certificate: &ClientCertificate,
    ) -> Result<(), Reason> {
        let verdict = self
            .verifier
            .authenticate(token.authorization.as_str(), certificate);
        verdict
            .await
            .map(|_| ())
            .map_err(|refusal| refusal.reason())
    }

    /// Changes the keys, each time after every worker has seen the tokens of the last one.
    async fn roll_over(&self, rollovers: u64) {
        let issued = self.issue().await;
        self.tokens.lock().unwrap().extend(issued);
        for _ in 0..rollovers {
            self.repeats.store(0, Ordering::Relaxed);
            let earlier = self.tokens();
            self.host.emulator.rotate_keys();
            let issued = self.issue().await;
            self.tokens.lock().unwrap().extend(issued);
            self.wait_for_every_worker().await;
            for token in &earlier {
                token.key.fetch_max(RETIRING, Ordering::SeqCst);
            }
            self.host.emulator.retire_previous_keys();
            {
                let _alone = self.time.write().await;
                self.host.emulator.clock().advance(HOUR);
            }
            // The workers start the refresh.
            for token in &earlier {
                while self.check(token) != Err(Reason::KeyUnknown) && !self.stopped() {
                    sleep(POLL_INTERVAL).await;
                }
                token.key.store(RETIRED, Ordering::SeqCst);
            }
            self.wait_for_every_worker().await;
            let mut tokens = self.tokens.lock().unwrap();
            let old = tokens.len().saturating_sub(KNOWN_TOKENS);
            tokens.drain(..old);
        }
    }

    /// Without waiting for keys.
    fn check(&self, token: &IssuedToken) -> Result<(), Reason> {
        let authorization = token.authorization.as_str();
        let verdict = self.verifier.verify(authorization, &token.certificate);
        verdict.map(|_| ()).map_err(|refusal| refusal.reason())
    }

    /// Verifies all tokens without a pause until it is stopped or a verdict is wrong.
    async fn verify_until_stopped(self: Arc<Self>, worker: usize) -> Result<(), String> {
        while !self.stopped() {
            let tokens = self.tokens();
            for (position, token) in tokens.iter().enumerate() {
                let stolen = &tokens[(position + 2) % tokens.len()];
                let shared = self.time.read().await;
                let verdict = self.verify_both(token, stolen).await;
                drop(shared);
                verdict.inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            }
            self.verdicts[worker].fetch_add(2 * tokens.len() as u64, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn verify_both(&self, token: &IssuedToken, other: &IssuedToken) -> Result<(), String> {
        let before = token.key.load(Ordering::SeqCst);
        let verdict = self.verify(token, &token.certificate).await;
        let after = token.key.load(Ordering::SeqCst);
        let is_right = match verdict {
            Ok(()) => before != RETIRED,
            Err(reason) => after != PUBLISHED && reason == Reason::KeyUnknown,
        };
        if !is_right {
            return Err(format!(
                "{verdict:?} for a key in state {before} to {after}"
            ));
        }
        if other.certificate != token.certificate {
            let stolen = self.verify(token, &other.certificate).await;
            if stolen != Err(Reason::BindingMismatch) {
                return Err(format!("{stolen:?} with another certificate"));
            }
        }
        Ok(())
    }

    /// Waits until every worker has verified all tokens that are known now.
    async fn wait_for_every_worker(&self) {
        let before = self.verdicts();
        let most = 4 * (KNOWN_TOKENS + 2) as u64;
        let all =
            || std::iter::zip(self.verdicts(), &before).all(|(now, before)| now >= before + most);
        while !all() && !self.stopped() {
            sleep(POLL_INTERVAL).await;
        }
    }

    fn tokens(&self) -> Vec<Arc<IssuedToken>> {
        self.tokens.lock().unwrap().clone()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn verdicts(&self) -> Vec<u64> {
        let verdicts = self.verdicts.iter();
        verdicts
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }
}

const WORKERS: usize = 16;
/// A fetch that takes up to three seconds, while every worker waits for it.
const MAX_REPEATS: usize = 3 * WORKERS;
/// The tokens that workers verify between rollovers: of two keys.
const KNOWN_TOKENS: usize = 4;
/// The key that signed a token is published; it is being retired; the verifier knows that it was retired.
const PUBLISHED: u8 = 0;
const RETIRING: u8 = 1;
const RETIRED: u8 = 2;
/// The interval of refreshes, in seconds.
const HOUR: i64 = 3600;
/// Of tokens and certificates, in seconds: longer than the test, by the emulated clock.
const LIFETIME: u32 = 30 * 86_400;
/// Of a request, for new keys.
const MAX_WAIT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(2);
