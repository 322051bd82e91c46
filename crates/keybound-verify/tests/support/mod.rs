//! What the tests of this crate share.
#![allow(dead_code, reason = "each test uses a part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[cfg(unix)]
pub mod envoy;

pub mod lines;

use keybound_resource::{
    AccessDecision, Caller, Claims, Clock, ContinuousAccess, FetchError, FetchFuture, KeyFetcher,
    Keys, VerifierBuilder,
};
use keybound_testing::attacks::{AttackCase, PolicyOfCase, TestIssuer, cases};
use keybound_verify::{Config, Daemon, DecisionLog, ExtendVerifier};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The cases of the attack table for one daemon: each policy, at each time, is an API with a separate host.
pub struct Table {
    pub issuer: TestIssuer,
    now: SystemTime,
    apis: BTreeMap<String, (PolicyOfCase, i64)>,
    folder: tempfile::TempDir,
}

impl Table {
    pub fn new(now: SystemTime) -> Self {
        Self::with_issuer(TestIssuer::new(now), now)
    }

    /// With the keys of an issuer at its time: generating them takes time.
    pub fn with_issuer(issuer: TestIssuer, now: SystemTime) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("keys.json"),
            issuer.key_file().to_string(),
        )
        .unwrap();
        let mut apis = BTreeMap::new();
        for case in cases() {
            let host = host(&case.policy(), case.seconds_later);
            apis.insert(host, (case.policy(), case.seconds_later));
        }
        Self {
            issuer,
            now,
            apis,
            folder,
        }
    }

    /// The configuration for a proxy, which connects to [`socket`](Self::socket).
    pub fn config(&self, engine: &str) -> String {
        let mut text = format!(
            "[listen]\nunix = {:?}\nmode = 0o666\n[proxy]\nengine = \"{engine}\"\n[keys]\nfile = {:?}\nmax_age = 604800\n[log]\ndecisions = \"all\"\n[limits]\ncache_mib = 32\n",
            self.socket(engine),
            self.folder.path().join("keys.json"),
        );
        for (host, (policy, _)) in &self.apis {
            text += &api(host, policy);
        }
        text
    }

    pub fn socket(&self, engine: &str) -> PathBuf {
        self.folder.path().join(format!("{engine}.sock"))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A daemon in this process, with the time of each case.
    pub async fn start(&self, engine: &str) -> Daemon {
        self.start_with_log(engine, DecisionLog::none()).await
    }

    pub async fn start_with_log(&self, engine: &str, log: DecisionLog) -> Daemon {
        let config = Config::from_toml(&self.config(engine)).unwrap();
        self.start_with_config(config, log).await
    }

    pub async fn start_with_config(&self, config: Config, log: DecisionLog) -> Daemon {
        let again = config.clone();
        Daemon::start(config, log, self.extend(), move || Ok(again.clone()))
            .await
            .unwrap()
    }

    fn extend(&self) -> Arc<ExtendVerifier> {
        let now = self.now.duration_since(UNIX_EPOCH).unwrap();
        let apis = self.apis.clone();
        Arc::new(move |name: &str, builder: VerifierBuilder| {
            let (policy, later) = &apis[name];
            let now = now.as_secs().wrapping_add_signed(*later);
            let mut builder = builder.clock(FixedClock(Duration::from_secs(now)));
            if policy.without_keys {
                builder = builder.keys(Keys::discovered(Unreachable));
            }
            if let Some(claims) = &policy.require_claims {
                builder = builder.continuous_access(RequireClaims(Claims::parse(claims).unwrap()));
            }
            builder
        })
    }
}

/// The host of the API with the policy of a case.
pub fn host_of(case: &AttackCase) -> String {
    host(&case.policy(), case.seconds_later)
}

/// Deterministic, and the same for equal policies.
pub fn host(policy: &PolicyOfCase, seconds_later: i64) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    format!("{policy:?}{seconds_later}").hash(&mut hasher);
    format!("p{:016x}.test", hasher.finish())
}

fn api(host: &str, policy: &PolicyOfCase) -> String {
    let tenants = match &policy.tenants {
        None => "\"any\"".to_owned(),
        Some(tenants) => format!("{tenants:?}"),
    };
    let mut text = format!(
        "[[api]]\nhosts = [{host:?}]\naudiences = {:?}\ntenants = {tenants}\napp_only = {}\nbearer = {}\nmanaged_identity_names = {}\nskew = {}\n",
        policy.audiences,
        policy.app_only,
        policy.bearer,
        policy.managed_identity_names,
        policy.skew,
    );
    for (name, list) in [
        ("clients", &policy.clients),
        ("roles", &policy.roles),
        ("scopes", &policy.scopes),
    ] {
        if let Some(list) = list {
            writeln!(text, "{name} = {list:?}").unwrap();
        }
    }
    if let Some(users) = policy.users {
        writeln!(text, "users = {users}").unwrap();
    }
    if let Some(max_age) = policy.max_age {
        writeln!(text, "max_age = {max_age}").unwrap();
    }
    text
}

/// A clock whose time does not change.
pub struct FixedClock(Duration);

impl FixedClock {
    pub fn at(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap())
    }
}

impl Clock for FixedClock {
    fn wall(&self) -> Duration {
        self.0
    }

    fn monotonic(&self) -> Duration {
        self.0
    }
}

struct RequireClaims(Claims);

impl ContinuousAccess for RequireClaims {
    fn decide(&self, _: &Caller) -> AccessDecision {
        AccessDecision::RequireClaims(self.0.clone())
    }
}

/// An issuer that does not respond.
pub struct Unreachable;

impl KeyFetcher for Unreachable {
    fn fetch<'a>(&'a self, _: &'a str) -> FetchFuture<'a> {
        Box::pin(async { Err(FetchError::new("unreachable")) })
    }
}

/// A runtime for one test.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The same with a paused clock, which advances to the next timeout when all tasks wait.
pub fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}
