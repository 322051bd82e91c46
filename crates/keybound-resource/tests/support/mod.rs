//! What the tests of this crate share.
#![allow(dead_code, reason = "each test uses a part")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

pub mod discovered;

use keybound_resource::{
    AccessDecision, Caller, CertificateRules, Claims, Clock, ContinuousAccess, Guid, KeySet, Keys,
    Schemes, Verifier, VerifierBuilder,
};
use keybound_testing::attacks::{PolicyOfCase, TestIssuer, fixed_now};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

/// One issuer for all tests of a process: generating its keys takes time.
pub fn issuer() -> &'static TestIssuer {
    static ISSUER: LazyLock<TestIssuer> = LazyLock::new(|| TestIssuer::new(fixed_now()));
    &ISSUER
}

/// A clock that tests set.
#[derive(Clone)]
pub struct TestClock {
    wall: Arc<AtomicU64>,
    /// How far the wall clock was set, in seconds.
    jumped: Arc<AtomicI64>,
}

impl TestClock {
    /// At [`fixed_now`].
    pub fn new() -> Self {
        let now = fixed_now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            wall: Arc::new(now.as_secs().into()),
            jumped: Arc::default(),
        }
    }

    pub fn advance(&self, seconds: u64) {
        self.wall.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Sets the wall clock only.
    pub fn jump(&self, seconds: i64) {
        let wall = self.wall.load(Ordering::Relaxed);
        let wall = wall.wrapping_add_signed(seconds);
        self.wall.store(wall, Ordering::Relaxed);
        self.jumped.fetch_add(seconds, Ordering::Relaxed);
    }

    pub fn set_later(&self, seconds: i64) {
        let start = Self::new().wall.load(Ordering::Relaxed);
        let wall = start.wrapping_add_signed(seconds);
        self.wall.store(wall, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn wall(&self) -> Duration {
        Duration::from_secs(self.wall.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        let wall = self.wall.load(Ordering::Relaxed);
        let jumped = self.jumped.load(Ordering::Relaxed);
        Duration::from_secs(wall.wrapping_add_signed(-jumped))
    }
}

/// The settings of a case.
pub fn builder(policy: &PolicyOfCase, clock: &TestClock) -> VerifierBuilder {
    let mut builder = Verifier::builder()
        .clock(clock.clone())
        .require_app_only(policy.app_only)
        .skew(Duration::from_secs(policy.skew))
        .max_age(policy.max_age.map(Duration::from_secs))
        .cache_bytes(1 << 20)
        .keys(fixed_keys());
    for audience in &policy.audiences {
        builder = builder.audience(audience);
    }
    builder = match &policy.tenants {
        None => builder.any_tenant(),
        Some(tenants) => builder.tenants(tenants.iter().map(|text| Guid::parse(text).unwrap())),
    };
    if let Some(clients) = &policy.clients {
        builder = builder.clients(clients);
    }
    if let Some(roles) = &policy.roles {
        builder = builder.require_roles(roles);
    }
    if let Some(accepted) = policy.users {
        builder = builder.accept_users(accepted);
    }
    if let Some(scopes) = &policy.scopes {
        builder = builder.require_scopes(scopes);
    }
    if policy.bearer {
        builder = builder.accept(Schemes::MTLS_POP | Schemes::BOUND_BEARER);
    }
    if policy.managed_identity_names {
        builder = builder.certificate(CertificateRules::new().managed_identity_names());
    }
    if policy.without_keys {
        builder = builder.keys(Keys::discovered(Unreachable));
    }
    if let Some(claims) = &policy.require_claims {
        builder = builder.continuous_access(RequireClaims(Claims::parse(claims).unwrap()));
    }
    builder
}

/// The keys of the [`issuer`].
pub fn fixed_keys() -> Keys {
    let keys = issuer().key_set().to_string();
    Keys::fixed(KeySet::parse(keys.as_bytes()).unwrap())
}

struct RequireClaims(Claims);

impl ContinuousAccess for RequireClaims {
    fn decide(&self, _: &Caller) -> AccessDecision {
        AccessDecision::RequireClaims(self.0.clone())
    }
}

/// An issuer that does not respond.
struct Unreachable;

impl keybound_resource::KeyFetcher for Unreachable {
    fn fetch<'a>(&'a self, _: &'a str) -> keybound_resource::FetchFuture<'a> {
        Box::pin(async { Err(keybound_resource::FetchError::new("unreachable")) })
    }
}
