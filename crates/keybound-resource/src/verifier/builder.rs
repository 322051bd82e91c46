use super::given_list::{GivenList, check_texts};
use super::{BuildError, Inner, Verifier};
use crate::cache::{Cache, Hashed};
use crate::issuer::issuers_of;
use crate::keys::{KeyStore, Keys, SharedKeys};
use crate::policy::{Policy, Tenants};
use crate::refusal::ChallengeParameters;
use crate::{
    CacheCounters, CertificateRules, Clock, Cloud, ContinuousAccess, Issuer, Schemes, SharedClock,
};
use keybound_core::Guid;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a [`Verifier`]. Audience, tenants and keys have no defaults.
#[must_use]
pub struct VerifierBuilder {
    audiences: GivenList<String>,
    tenants: GivenList<Guid>,
    any_tenant: bool,
    issuers: Vec<Issuer>,
    clients: GivenList<String>,
    roles: GivenList<String>,
    app_only: bool,
    accepts_users: Option<bool>,
    scopes: GivenList<String>,
    schemes: Schemes,
    skew: Duration,
    max_age: Option<Duration>,
    certificate: CertificateRules,
    keys: Option<Keys>,
    shared_keys: SharedKeys,
    cache_bytes: usize,
    cache_counters: CacheCounters,
    clock: SharedClock,
    authorization_uri: Option<String>,
    resource: Option<String>,
    continuous_access: Option<Arc<dyn ContinuousAccess>>,
}

impl Default for VerifierBuilder {
    fn default() -> Self {
        Self {
            audiences: GivenList::new("audiences"),
            tenants: GivenList::new("tenants"),
            any_tenant: false,
            issuers: Vec::new(),
            clients: GivenList::new("clients"),
            roles: GivenList::new("roles"),
            app_only: false,
            accepts_users: None,
            scopes: GivenList::new("scopes"),
            schemes: Schemes::MTLS_POP,
            skew: Duration::from_secs(300),
            max_age: None,
            certificate: CertificateRules::new(),
            keys: None,
            shared_keys: SharedKeys::new(),
            cache_bytes: 64 << 20,
            cache_counters: CacheCounters::new(),
            clock: SharedClock::default(),
            authorization_uri: None,
            resource: None,
            continuous_access: None,
        }
    }
}

impl VerifierBuilder {
    /// Adds an accepted audience, compared exactly: the resource's URI in tokens of version 1, its client id in those of version 2.
    pub fn audience(mut self, audience: &str) -> Self {
        self.audiences.add([audience.to_owned()]);
        self
    }

    /// Adds an accepted tenant.
    pub fn tenant(self, tenant: Guid) -> Self {
        self.tenants([tenant])
    }

    /// Adds accepted tenants: at least one.
    pub fn tenants(mut self, tenants: impl IntoIterator<Item = Guid>) -> Self {
        self.tenants.add(tenants);
        self
    }

    /// Accepts every tenant of the cloud. The resource then decides by [`Caller::tenant`](crate::Caller::tenant).
    pub fn any_tenant(mut self) -> Self {
        self.any_tenant = true;
        self
    }

    /// Accepts the issuers of a cloud. Default: [`Cloud::Public`], if no issuer is added.
    pub fn cloud(mut self, cloud: Cloud) -> Self {
        self.issuers.extend(issuers_of(cloud));
        self
    }

    /// Accepts an issuer. One whose name has no `{tenantid}` needs its [tenant](Issuer::tenant), which must be accepted.
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// Adds allowed clients, by their client ids: at least one. Default: every client.
    pub fn clients<T: Into<String>>(mut self, clients: impl IntoIterator<Item = T>) -> Self {
        self.clients.add(clients.into_iter().map(Into::into));
        self
    }

    /// Requires roles, all of them: at least one. Default: none.
    pub fn require_roles<T: Into<String>>(mut self, roles: impl IntoIterator<Item = T>) -> Self {
        self.roles.add(roles.into_iter().map(Into::into));
        self
    }

    /// Whether tokens of users are accepted too: see [`Caller::is_user`](crate::Caller::is_user). Default: only with
    /// [scopes](Self::require_scopes), as bound tokens are those of applications, and what a user has granted is in scopes and not in roles.
    pub fn accept_users(mut self, accepted: bool) -> Self {
        self.accepts_users = Some(accepted);
        self
    }

    /// Accepts tokens of users that have these scopes, all of them: at least one. Roles, if they are required, are required of users too.
    pub fn require_scopes<T: Into<String>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.scopes.add(scopes.into_iter().map(Into::into));
        self
    }

    /// Requires tokens that are certainly those of applications: see [`Caller::is_app_only`](crate::Caller::is_app_only). Default: not
    /// required. No users are accepted then.
    pub fn require_app_only(mut self, required: bool) -> Self {
        self.app_only = required;
        self
    }

    /// The accepted authentication schemes. Default: [`Schemes::MTLS_POP`].
    pub fn accept(mut self, schemes: Schemes) -> Self {
        self.schemes = schemes;
        self
    }

    /// How much the clocks of issuer and resource may differ: at most one hour. A part of a second counts as one. Default: 5 minutes.
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// How long after its issue a token is accepted at most; `None`: until its expiry. A part of a second counts as one. Default: `None`.
    pub fn max_age(mut self, max_age: impl Into<Option<Duration>>) -> Self {
        self.max_age = max_age.into();
        self
    }

    /// Further rules for the client certificate. Default: none.
    pub fn certificate(mut self, rules: CertificateRules) -> Self {
        self.certificate = rules;
        self
    }

    /// The issuers' keys.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Shares discovered keys with all verifiers that have the same value. Default: with none.
    pub fn shared_keys(mut self, keys: &SharedKeys) -> Self {
        self.shared_keys = keys.clone();
        self
    }

    /// The memory for cached tokens, in bytes: at most 64 GiB; with less than [`MIN_CACHE_BYTES`](crate::MIN_CACHE_BYTES), none are
    /// cached. Default: 64 MiB, about 28,000 tokens.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Counts with all verifiers that have a clone of the same value. Default: alone.
    pub fn cache_counters(mut self, counters: &CacheCounters) -> Self {
        self.cache_counters = counters.clone();
        self
    }

    /// The clocks. Default: [`SystemClock`](crate::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    /// The clocks of all verifiers that have the same value, in place of [`clock`](Self::clock): for a verifier that replaces another one.
    pub fn shared_clock(mut self, clock: &SharedClock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// The parameter `authorization_uri` of challenges, such as `https://login.microsoftonline.com/common/oauth2/authorize`.
    pub fn authorization_uri(mut self, uri: &str) -> Self {
        self.authorization_uri = Some(uri.to_owned());
        self
    }

    /// The parameter `resource` of challenges: what clients request tokens for.
    pub fn challenge_resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// A decision for each request of a verified caller.
    pub fn continuous_access(mut self, access: impl ContinuousAccess) -> Self {
        self.continuous_access = Some(Arc::new(access));
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    /// If a setting without default is missing, a list or text is empty, a value is out of range, or two settings contradict each other.
    pub fn build(self) -> Result<Verifier, BuildError> {
        let keys = self.keys.ok_or(BuildError::NoKeys)?;
        if self.skew > MAX_SKEW {
            return Err(BuildError::Skew);
        }
        if u64::try_from(self.cache_bytes).is_ok_and(|bytes| bytes > MAX_CACHE) {
            return Err(BuildError::CacheBytes);
        }
        check_challenge_text("authorization_uri", self.authorization_uri.as_ref())?;
        check_challenge_text("challenge_resource", self.resource.as_ref())?;
        let accepts_users = accepts_users(self.accepts_users, &self.scopes, self.app_only)?;
        let issuers = match self.issuers {
            issuers if issuers.is_empty() => issuers_of(Cloud::Public),
            issuers => issuers,
        };
        for issuer in &issuers {
            issuer.check(keys.are_discovered())?;
        }
        let policy = Policy {
            audiences: self.audiences.texts()?.ok_or(BuildError::NoAudience)?,
            issuers,
            tenants: tenants(self.tenants, self.any_tenant)?,
            clients: self.clients.texts()?,
            roles: self.roles.texts()?.unwrap_or_default(),
            app_only: self.app_only,
            accepts_users,
            scopes: self.scopes.texts()?.unwrap_or_default(),
            schemes: self.schemes,
            skew: seconds(self.skew),
            max_age: self.max_age.map(seconds),
            certificate: self
                .certificate
                .compile()
                .map_err(|source| BuildError::TrustedIssuers { source })?,
        };
        if let Some(issuer) = policy.issuer_without_tenant() {
            return Err(BuildError::IssuerTenant {
                issuer: issuer.name(None),
            });
        }
        let SharedClock(clock) = self.clock;
        Ok(Verifier(Arc::new(Inner {
            keys: KeyStore::new(keys, &policy, &self.shared_keys, &clock),
            cache: Cache::new(self.cache_bytes, Hashed::Signature),
            cache_counters: self.cache_counters,
            clock,
            challenge: Arc::new(ChallengeParameters {
                schemes: Some(policy.schemes),
                authorization_uri: self.authorization_uri,
                resource: self.resource,
            }),
            continuous_access: self.continuous_access,
            policy,
        })))
    }
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

/// Each tenant with its position. Exactly one choice must have been made.
fn tenants(listed: GivenList<Guid>, any: bool) -> Result<Tenants, BuildError> {
    match (listed.checked()?, any) {
        (None, true) => Ok(Tenants::Any),
        (Some(listed), false) => {
            let mut positions = HashMap::new();
            for tenant in listed {
                let next = positions.len();
                positions.entry(tenant).or_insert(next);
            }
            Ok(Tenants::Listed(positions))
        }
        (Some(_), true) | (None, false) => Err(BuildError::Tenants),
    }
}

/// Whether users are accepted, by what was said about them in any order.
fn accepts_users(
    accepted: Option<bool>,
    scopes: &GivenList<String>,
    app_only: bool,
) -> Result<bool, BuildError> {
    let is_accepted = accepted == Some(true) || scopes.is_given();
    let is_refused = accepted == Some(false) || app_only;
    match is_accepted && is_refused {
        true => Err(BuildError::Users),
        false => Ok(is_accepted),
    }
}

fn check_challenge_text(setting: &'static str, text: Option<&String>) -> Result<(), BuildError> {
    check_texts(setting, text)?;
    let is_quotable = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    match text.filter(|text| !text.bytes().all(is_quotable)) {
        Some(text) => Err(BuildError::ChallengeText { text: text.clone() }),
        None => Ok(()),
    }
}

/// In whole seconds, rounded up.
fn seconds(duration: Duration) -> i64 {
    let part = u64::from(duration.subsec_nanos() > 0);
    i64::try_from(duration.as_secs().saturating_add(part)).unwrap_or(i64::MAX)
}

const MAX_SKEW: Duration = Duration::from_secs(3600);
/// In bytes.
const MAX_CACHE: u64 = 64 << 30;
