use super::CachedBinding;
use super::hash::Folding;
use super::renewal::{HasRenewal, Renewal};
use crate::access_token::IssuedToken;
use crate::moment::Moment;
use keybound_core::{Attestation, TokenCacheKey};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

/// The tokens of one identity.
#[derive(Default)]
pub(crate) struct Tokens(RwLock<Kept>);

type Kept = HashMap<TokenCacheKey, Arc<CachedToken>, Folding>;

/// A token with the certificate that it was issued over.
pub(crate) struct CachedToken {
    pub(crate) issued: Arc<IssuedToken>,
    pub(crate) binding: Arc<CachedBinding>,
    expires: Moment,
    /// From then on a new one is wanted first.
    late: Moment,
    renew: Option<Moment>,
    superseded: AtomicBool,
    renewal: Renewal,
}

/// What a cached token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// It serves.
    Serve,
    /// It serves, and is due to be renewed meanwhile.
    ServeAndRenew,
    /// A new one is wanted now; this one serves only where that fails.
    Renew,
    /// It has ended.
    Ended,
}

impl CachedToken {
    /// A token as it was issued. `chance` (0 to 1) spreads renewals over a tenth of the time before they are due.
    pub(crate) fn new(
        issued: Arc<IssuedToken>,
        binding: Arc<CachedBinding>,
        asked_at: Moment,
        chance: f64,
    ) -> Self {
        let ahead = issued
            .refresh_in
            .or((issued.life > SHORT_LIFE).then(|| issued.life / 2));
        Self {
            expires: asked_at.after(issued.life),
            late: asked_at.after(issued.life - LEAST_REMAINING_LIFE.min(issued.life / 2)),
            renew: ahead.map(|ahead| asked_at.after(ahead.mul_f64(1.0 - 0.1 * chance))),
            superseded: AtomicBool::new(false),
            renewal: Renewal::default(),
            issued,
            binding,
        }
    }

    /// Its certificate is no longer the current one.
    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    /// How much is left of it.
    pub(crate) fn left(&self, now: Moment) -> Duration {
        self.expires.left(now)
    }

    /// What it is good for now.
    pub(crate) fn service(&self, now: Moment) -> Service {
        let superseded = self.superseded.load(Ordering::Relaxed);
        if self.expires.has_come(now) || self.binding.has_ended(now) {
            Service::Ended
        } else if superseded || self.late.has_come(now) {
            Service::Renew
        } else if self.renew.is_some_and(|renew| renew.has_come(now)) {
            Service::ServeAndRenew
        } else {
            Service::Serve
        }
    }
}

impl HasRenewal for CachedToken {
    fn renewal(&self) -> &Renewal {
        &self.renewal
    }
}

impl Tokens {
    pub(crate) fn get(&self, key: &TokenCacheKey) -> Option<Arc<CachedToken>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    pub(crate) fn put(&self, key: TokenCacheKey, token: Arc<CachedToken>, now: Moment) {
        let mut tokens = self.write();
        if tokens.len() >= MOST_TOKENS && !tokens.contains_key(&key) {
            tokens.retain(|_, token| token.service(now) != Service::Ended);
            make_room(&mut tokens, now);
        }
        tokens.insert(key, token);
    }

    /// Marks the tokens of other certificates than this: they are asked for anew.
    pub(super) fn supersede(&self, attestation: Attestation, current: &Arc<CachedBinding>) {
        for (key, token) in &*self.write() {
            if key.attestation == attestation && !Arc::ptr_eq(&token.binding, current) {
                token.supersede();
            }
        }
    }

    /// Drops the tokens of a certificate.
    pub(crate) fn drop_bound_to(&self, refused: &Arc<CachedBinding>) {
        self.write()
            .retain(|_, token| !Arc::ptr_eq(&token.binding, refused));
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(tokens: &mut Kept, now: Moment) {
    if tokens.len() < MOST_TOKENS {
        return;
    }
    let soonest = tokens
        .iter()
        .min_by_key(|(_, token)| token.expires.left(now))
        .map(|(key, _)| key.clone());
    if let Some(key) = soonest {
        tokens.remove(&key);
    }
}

/// A token with less left is asked for anew; one that lives less than twice as long, from half of its life on, else each
/// call would ask.
const LEAST_REMAINING_LIFE: Duration = Duration::from_secs(5 * 60);
/// Tokens that live longer are renewed at half of their life where the service does not say when.
const SHORT_LIFE: Duration = Duration::from_secs(2 * 3600);
const MOST_TOKENS: usize = 4096;
