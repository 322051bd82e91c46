use crate::Binding;
use crate::access_token::IssuedToken;
use keybound_core::{BindingCacheKey, TokenCacheKey};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// What a client remembers. No lock is held while something is waited for.
#[derive(Default)]
pub(crate) struct Caches {
    tokens: Mutex<HashMap<TokenCacheKey, Arc<IssuedToken>>>,
    bindings: Mutex<Bindings>,
}

#[derive(Default)]
struct Bindings {
    current: HashMap<BindingCacheKey, Arc<Binding>>,
    rejected: HashSet<BindingCacheKey>,
    gates: HashMap<BindingCacheKey, Arc<tokio::sync::Mutex<()>>>,
}

impl Caches {
    /// The token, where more than five minutes of its life remain.
    pub(crate) fn token(&self, key: &TokenCacheKey, now: SystemTime) -> Option<Arc<IssuedToken>> {
        lock(&self.tokens)
            .get(key)
            .filter(|token| is_fresh(token, now))
            .cloned()
    }

    pub(crate) fn put_token(&self, key: TokenCacheKey, token: Arc<IssuedToken>, now: SystemTime) {
        let mut tokens = lock(&self.tokens);
        if tokens.len() >= MOST_TOKENS && !tokens.contains_key(&key) {
            tokens.retain(|_, token| token.expires_on > now);
            make_room(&mut tokens);
        }
        tokens.insert(key, token);
    }

    /// The certificate, where enough of its life remains.
    pub(crate) fn binding(&self, key: &BindingCacheKey, now: SystemTime) -> Option<Arc<Binding>> {
        lock(&self.bindings)
            .current
            .get(key)
            .filter(|binding| binding.is_fresh(now))
            .cloned()
    }

    /// Remembers a new certificate. Tokens of other certificates of this identity end with it.
    pub(crate) fn put_binding(&self, key: BindingCacheKey, binding: &Arc<Binding>) {
        let current = &binding.certificate().thumbprints().x5t_s256;
        lock(&self.tokens).retain(|token, _| {
            token.identity != key.identity
                || token.attestation != key.attestation
                || token.certificate == *current
        });
        let mut bindings = lock(&self.bindings);
        bindings.rejected.remove(&key);
        bindings.current.insert(key, Arc::clone(binding));
    }

    /// Forgets a certificate that was refused, if it is still the current one; the next is minted past IMDS's cache.
    pub(crate) fn reject_binding(&self, key: &BindingCacheKey, refused: &Arc<Binding>) {
        let mut bindings = lock(&self.bindings);
        if bindings
            .current
            .get(key)
            .is_some_and(|current| Arc::ptr_eq(current, refused))
        {
            bindings.current.remove(key);
            bindings.rejected.insert(key.clone());
        }
    }

    pub(crate) fn was_rejected(&self, key: &BindingCacheKey) -> bool {
        lock(&self.bindings).rejected.contains(key)
    }

    /// The gate through which one minting at a time goes for each key.
    pub(crate) fn gate(&self, key: &BindingCacheKey) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.bindings).gates.entry(key.clone()).or_default())
    }
}

fn is_fresh(token: &IssuedToken, now: SystemTime) -> bool {
    token
        .expires_on
        .duration_since(now)
        .is_ok_and(|left| left > LEAST_REMAINING_LIFE)
}

fn make_room(tokens: &mut HashMap<TokenCacheKey, Arc<IssuedToken>>) {
    if tokens.len() < MOST_TOKENS {
        return;
    }
    let soonest = tokens
        .iter()
        .min_by_key(|(_, token)| token.expires_on)
        .map(|(key, _)| key.clone());
    if let Some(key) = soonest {
        tokens.remove(&key);
    }
}

/// A panic while a lock was held leaves whole entries: each change is one insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A token with less left is asked for anew.
const LEAST_REMAINING_LIFE: Duration = Duration::from_secs(5 * 60);
const MOST_TOKENS: usize = 4096;
