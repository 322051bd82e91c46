#[cfg(feature = "tokio")]
mod authenticate;
mod build_error;
mod builder;
mod given_list;

use crate::cache::Cache;
use crate::claims::TokenClaims;
use crate::clock::{DualTime, GuardedClock};
use crate::compact_token::CompactToken;
use crate::jose_header::JoseHeader;
use crate::keys::{FoundKey, KeyRefresh, KeyStore, MissingKeys};
use crate::policy::Policy;
use crate::refusal::ChallengeParameters;
use crate::{
    AccessDecision, Authorization, CacheCounters, Caller, ClientCertificate, ConnectionCertificate,
    ContinuousAccess, KeyStatus, Reason, Refusal,
};
pub use build_error::BuildError;
pub use builder::VerifierBuilder;
use std::fmt;
use std::sync::Arc;

/// Verifies bound access tokens for a resource. Clones share keys and cache.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    policy: Policy,
    keys: KeyStore,
    cache: Option<Cache<VerifiedToken>>,
    cache_counters: CacheCounters,
    clock: Arc<GuardedClock>,
    challenge: Arc<ChallengeParameters>,
    continuous_access: Option<Arc<dyn ContinuousAccess>>,
}

impl Verifier {
    /// Settings of a new verifier.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Verifies the token of a request and its binding to the client certificate of the request's connection. Nothing is read but
    /// the `Authorization` header: neither the query nor the body may contain the token. The values of all such headers are passed
    /// ([`Authorization::from_values`]), so that a second one is refused.
    ///
    /// It neither blocks nor does I/O. Where the issuer's keys are missing, the refusal has a [refresh](Refusal::take_key_refresh), after
    /// which the request may succeed.
    ///
    /// # Errors
    /// The response to send instead of the resource's.
    pub fn verify<'a>(
        &self,
        authorization: impl Into<Authorization<'a>>,
        certificate: impl Into<ConnectionCertificate<'a>>,
    ) -> Result<Arc<Caller>, Refusal> {
        let caller = self
            .0
            .verify(authorization.into(), certificate.into())
            .map_err(|rejection| self.refusal_of(rejection))?;
        self.check_access(&caller)?;
        Ok(caller)
    }

    /// The refresh of an issuer's keys that is due because of their age, if any: to be called from time to time, such as for each
    /// request, and to be spawned.
    #[must_use = "the refresh is cancelled if it is dropped"]
    pub fn due_key_refresh(&self) -> Option<KeyRefresh> {
        self.0.keys.due()
    }

    /// Whether the verifier is ready: at least one accepted issuer has keys, and each of the others has keys or was tried and failed. A
    /// tenant that no longer exists does not stop the others; [`key_status`](Self::key_status) names it.
    pub fn has_keys(&self) -> bool {
        self.0.keys.is_ready()
    }

    /// The state of the keys of each accepted issuer. Empty for [`Keys::fixed`](crate::Keys::fixed).
    pub fn key_status(&self) -> Vec<KeyStatus> {
        self.0.keys.status()
    }

    /// The memory of the cached tokens, in bytes.
    pub fn cached_bytes(&self) -> usize {
        self.0.cache.as_ref().map_or(0, Cache::bytes)
    }

    /// The refusal of a request by a rule of the resource itself, with the challenge of this verifier: such as for
    /// [`Reason::RoleMissing`], where one method of an API requires a role.
    pub fn refusal(&self, reason: Reason) -> Refusal {
        Refusal::new(reason, &self.0.challenge)
    }

    /// How often tokens were found in the cache.
    pub fn cache_counters(&self) -> &CacheCounters {
        &self.0.cache_counters
    }

    /// How far the wall clock was set since the verifier was built, or since the first one of its shared clock, in seconds: 0, or 1 away
    /// from it, if it was not; negative if it was set back. From -61 on, the verifier does not follow it: the time goes on by the monotonic
    /// clock. A clock that was set forward is followed, and after a day its step is 0. It also steps forward when the host sleeps.
    pub fn clock_step(&self) -> i64 {
        self.0.clock.step()
    }

    /// For refusals of an API that requires more of a caller.
    #[cfg(feature = "tower")]
    pub(crate) fn challenge_parameters(&self) -> Arc<ChallengeParameters> {
        Arc::clone(&self.0.challenge)
    }

    /// Applies the owner's decision, for each request.
    fn check_access(&self, caller: &Caller) -> Result<(), Refusal> {
        let Some(access) = &self.0.continuous_access else {
            return Ok(());
        };
        match access.decide(caller) {
            AccessDecision::Allow => Ok(()),
            AccessDecision::RequireClaims(claims) if caller.supports_claims_challenges => Err(self
                .refusal(Reason::InsufficientClaims)
                .with_claims(&claims)),
            AccessDecision::RequireClaims(_) | AccessDecision::Revoke => {
                Err(self.refusal(Reason::AccessRevoked))
            }
        }
    }

    fn refusal_of(&self, rejection: Rejection) -> Refusal {
        match rejection {
            Rejection::Reason(reason) => self.refusal(reason),
            Rejection::Keys(missing) => {
                let refusal = self.refusal(missing.reason);
                refusal.with_key_refresh(missing.refresh, missing.running)
            }
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("policy", &self.0.policy)
            .field("cache", &self.0.cache)
            .finish_non_exhaustive()
    }
}

/// The decision about a token that was verified.
struct VerifiedToken {
    caller: Arc<Caller>,
    key: FoundKey,
}

/// Why a request is refused.
enum Rejection {
    Reason(Reason),
    /// A refresh of the keys may help.
    Keys(Box<MissingKeys>),
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

impl Inner {
    fn verify(
        &self,
        authorization: Authorization<'_>,
        certificate: ConnectionCertificate<'_>,
    ) -> Result<Arc<Caller>, Rejection> {
        let token = authorization.token(self.policy.schemes)?;
        let now = self.clock.read();
        let cached = self.cached(token, certificate, now);
        if self.cache.is_some() {
            self.cache_counters.count(token, cached.is_some());
        }
        match cached {
            Some(decision) => Ok(decision?),
            None => self.verify_new(token, certificate, now.wall),
        }
    }

    /// The decision for a cached token. Everything that may have changed is checked again. `None` if it is not cached, or its key
    /// was retired.
    fn cached(
        &self,
        token: &[u8],
        certificate: ConnectionCertificate<'_>,
        now: DualTime,
    ) -> Option<Result<Arc<Caller>, Reason>> {
        let cache = self.cache.as_ref()?;
        let decision = cache.read(token, |entry| {
            // In this order: a refresh that ends meanwhile retires keys before the others are fresh.
            if !entry.key.keys.are_fresh(&self.clock, now) || entry.key.key.is_retired() {
                return None;
            }
            let now = now.wall;
            let check = || {
                let certificate = certificate.required()?;
                certificate.check(now, self.policy.skew)?;
                check_binding(certificate, Some(entry.caller.thumbprint.as_str()))?;
                self.policy.check_dates(&entry.caller, now)?;
                Ok(Arc::clone(&entry.caller))
            };
            Some(check())
        })?;
        // Such an entry is of no further use.
        if matches!(decision, None | Some(Err(Reason::TokenExpired))) {
            cache.remove(token);
        }
        decision
    }

    /// Verifies a token that is not cached. The steps are ordered by their cost, and nothing that the token claims has an effect before
    /// its signature was verified, except which of the accepted issuers' keys is used.
    fn verify_new(
        &self,
        token: &[u8],
        certificate: ConnectionCertificate<'_>,
        now: i64,
    ) -> Result<Arc<Caller>, Rejection> {
        let parts = CompactToken::parse(token)?;
        let header = JoseHeader::parse(parts.header())?;
        let claims = TokenClaims::parse(parts.claims())?;
        let certificate = certificate.required()?;
        certificate.check(now, self.policy.skew)?;
        check_binding(certificate, claims.confirmation.as_deref())?;
        let token_issuer = self.policy.token_issuer(&claims)?;
        let found = self.keys.find(&token_issuer, header.key_id()?);
        let found = found.map_err(|missing| Rejection::Keys(Box::new(missing)))?;
        let tid = claims.tenant.as_deref().unwrap_or_default();
        if !found.key.belongs_to(self.policy.issuer(&token_issuer), tid) {
            return Err(Reason::KeyIssuerMismatch.into());
        }
        if !found.key.verify(parts.signed(), parts.signature()) {
            return Err(Reason::SignatureInvalid.into());
        }
        let caller = self
            .policy
            .caller(&claims, token_issuer, certificate, now)?;
        let caller = Arc::new(caller);
        if let Some(cache) = &self.cache {
            let verified = VerifiedToken {
                caller: Arc::clone(&caller),
                key: found,
            };
            cache.insert(token, verified, caller.size());
        }
        Ok(caller)
    }
}

/// Compares the thumbprint in a token with the certificate, in constant time (RFC 8705 section 3.1).
fn check_binding(certificate: &ClientCertificate, thumbprint: Option<&str>) -> Result<(), Reason> {
    match thumbprint {
        None => Err(Reason::NotBound),
        Some(claim) if certificate.thumbprint().matches(claim) => Ok(()),
        Some(_) => Err(Reason::BindingMismatch),
    }
}
