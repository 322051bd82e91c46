//! What clients remember. No lock is held while something is waited for.
mod attestations;
mod bindings;
mod hash;
mod identities;
mod renewal;
mod supply;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;

pub(crate) use attestations::Attestations;
pub(crate) use bindings::CachedBinding;
pub(crate) use renewal::{HasRenewal, Renewal};
pub(crate) use supply::Supply;
pub(crate) use tokens::{AskedToken, CachedToken, Service};

use crate::settings::SharedSettings;
use crate::single_flight::SingleFlight;
use crate::store::StoreCalls;
use bindings::Bindings;
use identities::Identities;
use keybound_core::{Attestation, Error, KeyStrength, ManagedIdentity, Result, TokenCacheKey};
use keybound_keys::{BindingKey, KeyGate};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokens::Tokens;

/// Keys, certificates and tokens, to be shared by clients that are made anew for each request. Cloning is cheap.
///
/// Clients of one state have the same settings but for the identity; the first one settles them. Key providers and the
/// attestation provider are made once and cloned: two of the same kind count as different, as nobody can say of them that
/// they answer the same. Clock, store and retries may differ: a flight goes by those of the client that began it, for all who
/// wait for it.
#[derive(Clone, Default)]
pub struct SharedState(Arc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    settings: Mutex<Option<SharedSettings>>,
    identities: Mutex<Identities>,
    pub(crate) key: Arc<tokio::sync::Mutex<Option<Arc<dyn BindingKey>>>>,
    /// Of all keys that are opened one after the other.
    pub(crate) key_gate: KeyGate,
    pub(crate) attestations: Attestations,
    pub(crate) store_calls: StoreCalls,
    /// Whether IMDS answered 400 to `bypass_cache` and took the request without it.
    pub(crate) imds_refuses_bypass: AtomicBool,
}

impl SharedState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks a client's settings against those of the first client.
    pub(crate) fn check_compatible(&self, settings: SharedSettings) -> Result<()> {
        let mut first = lock(&self.0.settings);
        let first = first.get_or_insert_with(|| settings.clone());
        match first.difference(&settings) {
            None => Ok(()),
            Some(setting) => Err(Error::invalid_request(format!(
                "clients that share a SharedState must use identical settings; `{setting}` differs"
            ))),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// What is remembered of one identity.
    pub(crate) fn identity(&self, identity: &ManagedIdentity) -> Arc<IdentityState> {
        lock(&self.0.identities).of(identity)
    }
}

impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedState").finish_non_exhaustive()
    }
}

/// What is remembered of one identity, and what is under way for it.
#[derive(Default)]
pub(crate) struct IdentityState {
    pub(crate) tokens: Tokens,
    pub(crate) bindings: Bindings,
    pub(crate) token_flights: SingleFlight<TokenFlight, Result<Obtained>>,
    pub(crate) binding_flights: SingleFlight<BindingFlight, Result<Arc<CachedBinding>>>,
    /// Whether a certificate from the store got no token, so that the store is not read again.
    pub(crate) skips_store: AtomicBool,
    /// Certificates minted past IMDS's cache.
    pub(crate) bypasses: Supply,
}

impl IdentityState {
    /// Remembers a new certificate. Tokens of the one before are asked for anew, and serve on until then.
    pub(crate) fn put_binding(&self, attestation: Attestation, binding: &Arc<CachedBinding>) {
        self.bindings.put(attestation, Arc::clone(binding));
        self.tokens.supersede(attestation, binding);
    }
}

/// What makes two token requests the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenFlight {
    pub(crate) key: TokenCacheKey,
    pub(crate) forced: bool,
    pub(crate) claims: Option<Arc<str>>,
}

/// What makes two mintings the same. The floor is part of it: a failure for a high one is none for a low one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BindingFlight {
    pub(crate) attestation: Attestation,
    pub(crate) min_strength: KeyStrength,
    /// Past IMDS's cache: who needs that is not served by a flight that may get what IMDS had.
    pub(crate) bypass: bool,
}

/// A token, and whether somebody else had got it already.
#[derive(Clone)]
pub(crate) struct Obtained {
    pub(crate) token: Arc<CachedToken>,
    pub(crate) from_cache: bool,
}

/// A panic while a lock was held leaves whole entries: each change is one insert or remove.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
