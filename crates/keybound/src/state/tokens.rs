use super::CachedBinding;
use super::hash::Folding;
use super::lock;
use super::renewal::{HasRenewal, Renewal};
use crate::access_token::IssuedToken;
use crate::authorization_header::AuthorizationHeader;
use crate::moment::Moment;
use arc_swap::ArcSwap;
use hashbrown::{Equivalent, HashMap};
use keybound_core::{Attestation, KeyStrength, TokenCacheKey, TokenType};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The tokens of one identity. Who looks takes no lock and writes to no memory that others read: a cached answer costs
/// the same however many callers there are.
#[derive(Default)]
pub(crate) struct Tokens {
    kept: ArcSwap<Kept>,
    /// Held by who changes what is kept.
    writers: Mutex<()>,
}

type Kept = HashMap<TokenCacheKey, Arc<CachedToken>, Folding>;

/// A [`TokenCacheKey`] whose scope is lent: a look makes no key.
#[derive(Hash)]
pub(crate) struct AskedToken<'a> {
    pub(crate) scope: &'a str,
    pub(crate) token_type: TokenType,
    pub(crate) attestation: Attestation,
    pub(crate) min_strength: KeyStrength,
}

impl<'a> From<&'a TokenCacheKey> for AskedToken<'a> {
    fn from(key: &'a TokenCacheKey) -> Self {
        Self {
            scope: key.scope.as_str(),
            token_type: key.token_type,
            attestation: key.attestation,
            min_strength: key.min_strength,
        }
    }
}

impl Equivalent<TokenCacheKey> for AskedToken<'_> {
    fn equivalent(&self, key: &TokenCacheKey) -> bool {
        self.scope == key.scope.as_str()
            && self.token_type == key.token_type
            && self.attestation == key.attestation
            && self.min_strength == key.min_strength
    }
}

/// A token with the certificate that it was issued over. What every hit looks at stands together at its beginning: among many
/// tokens it is mostly the memory that a hit waits for.
#[repr(C)]
pub(crate) struct CachedToken {
    /// Until then neither it nor its certificate has to be looked after.
    rests_until: Moment,
    simulated: bool,
    superseded: AtomicBool,
    renewal: Renewal,
    pub(crate) issued: IssuedToken,
    pub(crate) binding: Arc<CachedBinding>,
    expires: Moment,
    /// From then on a new one is wanted first.
    late: Moment,
    renew: Option<Moment>,
    /// Made when it first goes out.
    header: OnceLock<Box<AuthorizationHeader>>,
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
    /// What it goes out with.
    pub(crate) fn header(&self) -> &AuthorizationHeader {
        let make = || Box::new(AuthorizationHeader::of(&self.issued));
        self.header.get_or_init(make)
    }

    /// A token as it was issued. `chance` (0 to 1) spreads renewals over a tenth of the time before they are due.
    pub(crate) fn new(
        issued: IssuedToken,
        binding: Arc<CachedBinding>,
        asked_at: Moment,
        chance: f64,
    ) -> Self {
        let ahead = issued
            .refresh_in
            .or((issued.life > SHORT_LIFE).then(|| issued.life / 2));
        let late = asked_at.after(issued.life - LEAST_REMAINING_LIFE.min(issued.life / 2));
        let renew = ahead.map(|ahead| asked_at.after(ahead.mul_f64(1.0 - 0.1 * chance)));
        Self {
            expires: asked_at.after(issued.life),
            late,
            renew,
            rests_until: late
                .or_sooner(renew.unwrap_or(late))
                .or_sooner(binding.rests_until()),
            simulated: binding.binding.is_simulated(),
            superseded: AtomicBool::new(false),
            header: OnceLock::new(),
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

    /// Whether there is nothing to do but to hand it out, in any world.
    pub(crate) fn is_at_rest(&self, now: Moment) -> bool {
        !self.rests_until.has_come(now)
            && !self.simulated
            && !self.superseded.load(Ordering::Relaxed)
            && !self.renewal.has_failed()
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
        self.look(&AskedToken::from(key), Arc::clone)
    }

    /// Shows the token that is asked for, if there is one.
    pub(crate) fn look<T>(
        &self,
        asked: &AskedToken<'_>,
        see: impl FnOnce(&Arc<CachedToken>) -> T,
    ) -> Option<T> {
        self.kept.load().get(asked).map(see)
    }

    pub(crate) fn put(&self, key: TokenCacheKey, token: Arc<CachedToken>, now: Moment) {
        self.change(|tokens| {
            if tokens.len() >= MOST_TOKENS && !tokens.contains_key(&key) {
                tokens.retain(|_, token| token.service(now) != Service::Ended);
                make_room(tokens, now);
            }
            tokens.insert(key, token);
        });
    }

    /// Marks the tokens of other certificates than this: they are asked for anew.
    pub(super) fn supersede(&self, attestation: Attestation, current: &Arc<CachedBinding>) {
        // Whoever puts a token has it marked here, or puts it after this and then sees that the certificate is another.
        let _turn = lock(&self.writers);
        for (key, token) in &**self.kept.load() {
            if key.attestation == attestation && !Arc::ptr_eq(&token.binding, current) {
                token.supersede();
            }
        }
    }

    /// Drops the tokens of a certificate.
    pub(crate) fn drop_bound_to(&self, refused: &Arc<CachedBinding>) {
        self.change(|tokens| tokens.retain(|_, token| !Arc::ptr_eq(&token.binding, refused)));
    }

    /// Puts a changed copy in the place of what is kept. A token comes every few minutes at most for each resource, and
    /// costs a request; a copy of 4096 costs a fraction of that.
    fn change(&self, change: impl FnOnce(&mut Kept)) {
        let _turn = lock(&self.writers);
        let mut changed = Kept::clone(&self.kept.load());
        change(&mut changed);
        self.kept.store(Arc::new(changed));
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
