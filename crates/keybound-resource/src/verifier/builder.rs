use super::{Inner, Verifier};
use crate::cache::{Cache, Hashed};
use crate::clock::GuardedClock;
use crate::issuer::issuers_of;
use crate::keys::{KeyStore, Keys, SharedKeys};
use crate::policy::{Policy, Tenants};
use crate::refusal::ChallengeParameters;
use crate::{CertificateRules, Clock, Cloud, ContinuousAccess, Issuer, Schemes, SystemClock};
use keybound_core::Guid;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a [`Verifier`]. Audience, tenants and keys have no defaults.
#[must_use]
pub struct VerifierBuilder {
    audiences: Vec<String>,
    tenants: Option<Vec<Guid>>,
    any_tenant: bool,
    issuers: Vec<Issuer>,
    clients: Vec<String>,
    roles: Vec<String>,
    app_only: bool,
    accepts_users: bool,
    scopes: Vec<String>,
    schemes: Schemes,
    skew: Duration,
    max_age: Option<Duration>,
    certificate: CertificateRules,
    keys: Option<Keys>,
    shared_keys: SharedKeys,
    cache_bytes: usize,
    clock: Arc<dyn Clock>,
    authorization_uri: Option<String>,
    resource: Option<String>,
    continuous_access: Option<Arc<dyn ContinuousAccess>>,
}

/// Why a verifier cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No audience, or an empty one.
    #[error("a verifier needs the audience of its resource")]
    NoAudience,
    /// Neither tenants nor any tenant, or both.
    #[error("a verifier needs either a list of tenants or any tenant")]
    Tenants,
    /// An issuer whose name has no `{tenantid}`, without a tenant or with one that is not accepted.
    #[error("an issuer whose name has no {{tenantid}} needs its tenant, which must be accepted")]
    IssuerTenant,
    /// No keys.
    #[error("a verifier needs the issuers' keys")]
    NoKeys,
    /// A text of the challenge contains a character that a quoted string cannot have.
    #[error("a text of the challenge is not printable ASCII without quotes and backslashes")]
    ChallengeText,
    /// The trusted issuers of certificates are not certificates in PEM.
    #[error("the trusted issuers of certificates are not certificates in PEM")]
    TrustedIssuers,
    /// The clock skew is longer than an hour.
    #[error("the clock skew is longer than an hour")]
    Skew,
}

impl Default for VerifierBuilder {
    fn default() -> Self {
        Self {
            audiences: Vec::new(),
            tenants: None,
            any_tenant: false,
            issuers: Vec::new(),
            clients: Vec::new(),
            roles: Vec::new(),
            app_only: false,
            accepts_users: false,
            scopes: Vec::new(),
            schemes: Schemes::MTLS_POP,
            skew: Duration::from_secs(300),
            max_age: None,
            certificate: CertificateRules::new(),
            keys: None,
            shared_keys: SharedKeys::new(),
            cache_bytes: 64 << 20,
            clock: Arc::new(SystemClock::new()),
            authorization_uri: None,
            resource: None,
            continuous_access: None,
        }
    }
}

impl VerifierBuilder {
    /// Adds an accepted audience, compared exactly: the resource's URI in tokens of version 1, its client id in those of version 2.
    pub fn audience(mut self, audience: &str) -> Self {
        self.audiences.push(audience.to_owned());
        self
    }

    /// Adds an accepted tenant.
    pub fn tenant(self, tenant: Guid) -> Self {
        self.tenants([tenant])
    }

    /// Adds accepted tenants.
    pub fn tenants(mut self, tenants: impl IntoIterator<Item = Guid>) -> Self {
        self.tenants.get_or_insert_default().extend(tenants);
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

    /// Adds allowed clients, by their client ids. Default: every client.
    pub fn clients<T: Into<String>>(mut self, clients: impl IntoIterator<Item = T>) -> Self {
        self.clients.extend(clients.into_iter().map(Into::into));
        self
    }

    /// Requires roles, all of them. Default: none.
    pub fn require_roles<T: Into<String>>(mut self, roles: impl IntoIterator<Item = T>) -> Self {
        self.roles.extend(roles.into_iter().map(Into::into));
        self
    }

    /// Accepts tokens of users too: see [`Caller::is_user`](crate::Caller::is_user). Default: they are refused, as bound tokens are those of
    /// applications, and what a user has granted is in scopes and not in roles.
    pub fn accept_users(mut self, accepted: bool) -> Self {
        self.accepts_users = accepted;
        self
    }

    /// Accepts tokens of users that have these scopes, all of them. Roles, if they are required, are required of users too.
    pub fn require_scopes<T: Into<String>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self.accepts_users |= !self.scopes.is_empty();
        self
    }

    /// Requires tokens that are certainly those of applications: see [`Caller::is_app_only`](crate::Caller::is_app_only). Default: not
    /// required.
    pub fn require_app_only(mut self, required: bool) -> Self {
        self.app_only = required;
        self
    }

    /// The accepted authentication schemes. Default: [`Schemes::MTLS_POP`].
    pub fn accept(mut self, schemes: Schemes) -> Self {
        self.schemes = schemes;
        self
    }

    /// How much the clocks of issuer and resource may differ. Default: 5 minutes.
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// How long after its issue a token is accepted, if not until its expiry. Default: until its expiry.
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

    /// The memory for cached tokens, in bytes; less than 32 KiB: none are cached. Default: 64 MiB, about 28,000 tokens.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// The clocks. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
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
    /// If a setting without default is missing, or a value is out of range.
    pub fn build(self) -> Result<Verifier, BuildError> {
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(BuildError::NoAudience);
        }
        if self.skew > MAX_SKEW {
            return Err(BuildError::Skew);
        }
        let texts = [&self.authorization_uri, &self.resource];
        if !texts.into_iter().flatten().all(|text| is_quotable(text)) {
            return Err(BuildError::ChallengeText);
        }
        let keys = self.keys.ok_or(BuildError::NoKeys)?;
        let policy = Policy {
            audiences: self.audiences,
            issuers: match self.issuers {
                issuers if issuers.is_empty() => issuers_of(Cloud::Public),
                issuers => issuers,
            },
            tenants: tenants(self.tenants, self.any_tenant).ok_or(BuildError::Tenants)?,
            clients: self.clients,
            roles: self.roles,
            app_only: self.app_only,
            accepts_users: self.accepts_users,
            scopes: self.scopes,
            schemes: self.schemes,
            skew: seconds(self.skew),
            max_age: self.max_age.map(seconds),
            certificate: self
                .certificate
                .compile()
                .ok_or(BuildError::TrustedIssuers)?,
        };
        if !policy.issuers_have_tenants() {
            return Err(BuildError::IssuerTenant);
        }
        let clock = Arc::new(GuardedClock::new(self.clock));
        Ok(Verifier(Arc::new(Inner {
            keys: KeyStore::new(keys, &policy, &self.shared_keys, &clock),
            cache: Cache::new(self.cache_bytes, Hashed::Signature),
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

/// Each tenant with its position. `None` unless exactly one choice was made.
fn tenants(listed: Option<Vec<Guid>>, any: bool) -> Option<Tenants> {
    match listed {
        None => any.then_some(Tenants::Any),
        Some(listed) => {
            let mut positions = HashMap::new();
            for tenant in listed {
                let next = positions.len();
                positions.entry(tenant).or_insert(next);
            }
            (!any && !positions.is_empty()).then_some(Tenants::Listed(positions))
        }
    }
}

fn is_quotable(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

const MAX_SKEW: Duration = Duration::from_secs(3600);
