//! The caches of clients: tokens, certificates, attestation tokens, and the key. No lock is held across an await.
mod attestation_cache;
mod binding_cache;
mod clock;
mod dual_time;
mod folding_hasher;
mod host_cache;
mod identity_caches;
mod mint_rate_limiter;
mod refresh_attempts;
#[cfg(test)]
pub(crate) mod tests;
mod token_cache;

pub(crate) use attestation_cache::AttestationCache;
pub(crate) use binding_cache::CachedBinding;
pub(crate) use clock::Clocks;
pub use clock::{Clock, SystemClock};
pub(crate) use dual_time::DualTime;
pub(crate) use host_cache::HostCache;
pub(crate) use mint_rate_limiter::MintRateLimiter;
pub(crate) use refresh_attempts::{RefreshAttempts, Refreshable};
pub(crate) use token_cache::{BorrowedTokenKey, CachedToken, Freshness};

use crate::settings::SharedSettings;
use crate::single_flight::SingleFlight;
use crate::store::StoreCalls;
use binding_cache::BindingCache;
pub(crate) use identity_caches::CacheOwner;
use identity_caches::IdentityCaches;
use keybound_core::{Attestation, Error, KeyStrength, Result, TokenCacheKey, lock};
use keybound_keys::{BindingKey, KeyGate};
use keybound_transport::HttpsClient;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use token_cache::TokenCache;

/// Keys, certificates and tokens, shared by clients that are created for each request. Cloning is cheap.
///
/// Clients that share a state must have the settings of the first client, except for the identity. Create key providers and the
/// attestation provider once and clone them: two providers of the same kind count as different, since their results may differ.
/// Clock, store and retries may differ: a single flight uses those of the client that started it, for all its waiters.
#[derive(Clone, Default)]
pub struct SharedState(Arc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    settings: Mutex<Option<SharedSettings>>,
    identities: Mutex<IdentityCaches>,
    pub(crate) key: Arc<tokio::sync::Mutex<Option<Arc<dyn BindingKey>>>>,
    /// Shared by successive keys.
    pub(crate) key_gate: KeyGate,
    pub(crate) attestations: AttestationCache,
    pub(crate) host: HostCache,
    pub(crate) store_calls: StoreCalls,
    /// Whether IMDS rejected a request with `bypass_cache` and accepted it without.
    pub(crate) imds_rejects_bypass: AtomicBool,
    /// The connections to a source with an https address.
    pub(crate) source_client: OnceLock<HttpsClient>,
}

impl SharedState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks a client's settings against those of the first client.
    pub(crate) fn check_compatible(&self, settings: &SharedSettings) -> Result<()> {
        let mut first = lock(&self.0.settings);
        let first = first.get_or_insert_with(|| settings.clone());
        match first.difference(settings) {
            None => Ok(()),
            Some(setting) => Err(Error::invalid_request(format!(
                "clients that share a SharedState must use identical settings; `{setting}` differs"
            ))),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// The caches of one identity.
    pub(crate) fn identity(&self, owner: &CacheOwner) -> Arc<IdentityState> {
        lock(&self.0.identities).of(owner)
    }
}

impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedState").finish_non_exhaustive()
    }
}

/// The caches of one identity, and its requests in flight.
#[derive(Default)]
pub(crate) struct IdentityState {
    pub(crate) tokens: TokenCache,
    pub(crate) bindings: BindingCache,
    pub(crate) token_requests: SingleFlight<TokenRequestKey, Result<Obtained>>,
    pub(crate) binding_requests: SingleFlight<MintKey, Result<Option<Arc<CachedBinding>>>>,
    /// Whether no token was issued for a certificate from the store, so that the store is not read again.
    pub(crate) skips_store: AtomicBool,
    /// Limits the certificates that are minted past IMDS's cache.
    pub(crate) mint_limiter: MintRateLimiter,
    /// Limits the tokens that are requested from the host's source after claims challenges.
    pub(crate) source_limiter: MintRateLimiter,
    /// The caches with tokens of app registrations that are bound to certificates of this identity.
    dependents: Mutex<Vec<Weak<IdentityState>>>,
}

impl IdentityState {
    /// Caches a new certificate. Tokens of the previous one are refreshed, and returned until then.
    pub(crate) fn put_binding(&self, attestation: Attestation, binding: &Arc<CachedBinding>) {
        self.bindings.put(attestation, Arc::clone(binding));
        self.tokens.supersede(attestation, binding);
        self.each_dependent(|dependent| dependent.tokens.supersede(attestation, binding));
    }

    /// Evicts the tokens of a certificate.
    pub(crate) fn evict_tokens_bound_to(&self, binding: &Arc<CachedBinding>) {
        self.tokens.evict_bound_to(binding);
        self.each_dependent(|dependent| dependent.tokens.evict_bound_to(binding));
    }

    /// Adds caches with tokens that are bound to certificates of this identity.
    pub(crate) fn add_dependent(&self, added: &Arc<Self>) {
        let mut dependents = lock(&self.dependents);
        dependents.retain(|dependent| {
            dependent.strong_count() > 0 && !std::ptr::eq(dependent.as_ptr(), Arc::as_ptr(added))
        });
        dependents.push(Arc::downgrade(added));
    }

    fn each_dependent(&self, change: impl Fn(&Self)) {
        let dependents = lock(&self.dependents);
        for dependent in dependents.iter().filter_map(Weak::upgrade) {
            change(&dependent);
        }
    }
}

/// The key of a token request.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenRequestKey {
    pub(crate) key: TokenCacheKey,
    pub(crate) forced: bool,
    pub(crate) claims: Option<Arc<str>>,
}

/// The key of a mint. The minimum key strength is part of it: a failure for a high one is none for a low one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MintKey {
    pub(crate) attestation: Attestation,
    pub(crate) min_strength: KeyStrength,
    /// Past IMDS's cache: a caller that needs this cannot use a mint that may return the cached certificate.
    pub(crate) bypass: bool,
}

/// A token, and whether another caller had fetched it already.
#[derive(Clone)]
pub(crate) struct Obtained {
    pub(crate) token: Arc<CachedToken>,
    pub(crate) from_cache: bool,
}
