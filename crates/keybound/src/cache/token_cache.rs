use super::CachedBinding;
use super::folding_hasher::FoldingHash;
use super::{DualTime, RefreshAttempts, Refreshable};
use crate::access_token::IssuedToken;
use crate::authorization_header::AuthorizationHeader;
use arc_swap::ArcSwap;
use hashbrown::{Equivalent, HashMap};
use keybound_core::{Attestation, KeyStrength, TokenCacheKey, TokenType, lock};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The tokens of one identity. A lookup takes no lock and writes to no memory that other threads read, so that a cache hit costs
/// the same with any number of callers.
#[derive(Default)]
pub(crate) struct TokenCache {
    map: ArcSwap<TokenMap>,
    /// Held while the map is replaced.
    writers: Mutex<()>,
}

type TokenMap = HashMap<TokenCacheKey, Arc<CachedToken>, FoldingHash>;

/// A [`TokenCacheKey`] with a borrowed scope: a lookup allocates no key.
#[derive(Hash)]
pub(crate) struct BorrowedTokenKey<'a> {
    pub(crate) scope: &'a str,
    pub(crate) token_type: TokenType,
    pub(crate) over_mtls: bool,
    pub(crate) attestation: Attestation,
    pub(crate) min_strength: KeyStrength,
}

impl<'a> From<&'a TokenCacheKey> for BorrowedTokenKey<'a> {
    fn from(key: &'a TokenCacheKey) -> Self {
        Self {
            scope: key.scope.as_str(),
            token_type: key.token_type,
            over_mtls: key.over_mtls,
            attestation: key.attestation,
            min_strength: key.min_strength,
        }
    }
}

impl Equivalent<TokenCacheKey> for BorrowedTokenKey<'_> {
    fn equivalent(&self, key: &TokenCacheKey) -> bool {
        self.scope == key.scope.as_str()
            && self.token_type == key.token_type
            && self.over_mtls == key.over_mtls
            && self.attestation == key.attestation
            && self.min_strength == key.min_strength
    }
}

/// A token with the certificate that it was issued for, if any. The fields that every cache hit reads come first, in one cache
/// line: with many tokens, a hit mostly waits for memory.
#[repr(C)]
pub(crate) struct CachedToken {
    /// The time until which neither it nor its certificate is due for a refresh.
    fresh_until: DualTime,
    superseded: AtomicBool,
    renewal: RefreshAttempts,
    pub(crate) issued: IssuedToken,
    /// `None`: from the host's source, without a certificate.
    pub(crate) binding: Option<Arc<CachedBinding>>,
    expires: DualTime,
    /// The time from which a new token is fetched first.
    stale: DualTime,
    refresh: Option<DualTime>,
    /// Built on first use.
    header: OnceLock<Box<AuthorizationHeader>>,
}

/// How fresh a cached token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Needs no refresh.
    Fresh,
    /// Valid, and to be refreshed in the background.
    RefreshDue,
    /// Valid, and returned only if a new token cannot be fetched.
    Stale,
    /// Expired: never returned.
    Expired,
}

impl CachedToken {
    /// Its Authorization header.
    pub(crate) fn header(&self) -> &AuthorizationHeader {
        let issued = &self.issued;
        let build = || {
            Box::new(AuthorizationHeader::new(
                &issued.authorization(),
                &issued.scope,
            ))
        };
        self.header.get_or_init(build)
    }

    /// A token that was requested at `requested`. `chance` (0 to 1) spreads refreshes over a tenth of the time before they are due.
    pub(crate) fn new(
        issued: IssuedToken,
        binding: Option<Arc<CachedBinding>>,
        requested: DualTime,
        chance: f64,
    ) -> Self {
        let refresh_in = issued
            .refresh_in
            .or((issued.life > SHORT_LIFE).then(|| issued.life / 2));
        let stale = requested.after(issued.life - MIN_REMAINING_LIFE.min(issued.life / 2));
        let refresh = refresh_in.map(|time| requested.after(time.mul_f64(1.0 - 0.1 * chance)));
        let token_fresh = stale.min(refresh.unwrap_or(stale));
        let certificate_fresh = binding.as_ref().map(|binding| binding.fresh_until());
        Self {
            expires: requested.after(issued.life),
            stale,
            refresh,
            fresh_until: token_fresh.min(certificate_fresh.unwrap_or(token_fresh)),
            superseded: AtomicBool::new(false),
            header: OnceLock::new(),
            renewal: RefreshAttempts::default(),
            issued,
            binding,
        }
    }

    /// Marks it as stale, since its certificate is no longer the current one.
    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    /// Its remaining lifetime.
    pub(crate) fn remaining(&self, now: DualTime) -> Duration {
        self.expires.remaining(now)
    }

    /// Whether it is returned without a further check.
    #[inline]
    pub(crate) fn is_fresh(&self, now: DualTime) -> bool {
        !self.fresh_until.has_passed(now)
            && !self.superseded.load(Ordering::Relaxed)
            && !self.renewal.has_failed()
    }

    /// Decides whether the token has expired or is due for a refresh: by its expiry, that of its certificate if any, and the times
    /// for a refresh.
    pub(crate) fn freshness(&self, now: DualTime) -> Freshness {
        let superseded = self.superseded.load(Ordering::Relaxed);
        let binding = self.binding.as_ref();
        let certificate_expired = binding.is_some_and(|binding| binding.has_expired(now));
        if self.expires.has_passed(now) || certificate_expired {
            Freshness::Expired
        } else if superseded || self.stale.has_passed(now) {
            Freshness::Stale
        } else if self.refresh.is_some_and(|refresh| refresh.has_passed(now)) {
            Freshness::RefreshDue
        } else {
            Freshness::Fresh
        }
    }
}

impl Refreshable for CachedToken {
    fn renewal(&self) -> &RefreshAttempts {
        &self.renewal
    }
}

impl TokenCache {
    pub(crate) fn get(&self, key: &TokenCacheKey) -> Option<Arc<CachedToken>> {
        self.look_up(&BorrowedTokenKey::from(key), Arc::clone)
    }

    /// Calls `read` with the token of this key, if there is one.
    pub(crate) fn look_up<T>(
        &self,
        key: &BorrowedTokenKey<'_>,
        read: impl FnOnce(&Arc<CachedToken>) -> T,
    ) -> Option<T> {
        self.map.load().get(key).map(read)
    }

    pub(crate) fn put(&self, key: TokenCacheKey, token: Arc<CachedToken>, now: DualTime) {
        self.change(|tokens| insert(tokens, key, token, now));
    }

    /// Caches a token, unless there is another one than `seen`: another flow has cached it meanwhile, such as one after a claims
    /// challenge.
    pub(crate) fn put_unless_replaced(
        &self,
        key: TokenCacheKey,
        token: Arc<CachedToken>,
        seen: Option<&Arc<CachedToken>>,
        now: DualTime,
    ) {
        self.change(|tokens| {
            let is_seen = |current| seen.is_some_and(|seen| Arc::ptr_eq(seen, current));
            if tokens.get(&key).is_none_or(is_seen) {
                insert(tokens, key, token, now);
            }
        });
    }

    /// Marks the tokens of other certificates as stale.
    pub(super) fn supersede(&self, attestation: Attestation, current: &Arc<CachedBinding>) {
        // A token that is cached concurrently is marked here; or it is cached later, and its caller finds a new certificate.
        let _guard = lock(&self.writers);
        for (key, token) in &**self.map.load() {
            let is_other = |binding| !Arc::ptr_eq(binding, current);
            if key.attestation == attestation && token.binding.as_ref().is_some_and(is_other) {
                token.supersede();
            }
        }
    }

    /// Evicts the tokens of a certificate.
    pub(crate) fn evict_bound_to(&self, binding: &Arc<CachedBinding>) {
        let is_bound = |token: &CachedToken| {
            let own = token.binding.as_ref();
            own.is_some_and(|own| Arc::ptr_eq(own, binding))
        };
        self.change(|tokens| tokens.retain(|_, token| !is_bound(token)));
    }

    /// Replaces the map with a changed copy. A token costs a request, at most every few minutes for each resource; a copy of 4096
    /// entries costs a fraction of that.
    fn change(&self, change: impl FnOnce(&mut TokenMap)) {
        let _guard = lock(&self.writers);
        let mut changed = TokenMap::clone(&self.map.load());
        change(&mut changed);
        self.map.store(Arc::new(changed));
    }
}

fn insert(tokens: &mut TokenMap, key: TokenCacheKey, token: Arc<CachedToken>, now: DualTime) {
    if tokens.len() >= MAX_TOKENS && !tokens.contains_key(&key) {
        tokens.retain(|_, token| token.freshness(now) != Freshness::Expired);
        evict(tokens, now);
    }
    tokens.insert(key, token);
}

fn evict(tokens: &mut TokenMap, now: DualTime) {
    if tokens.len() < MAX_TOKENS {
        return;
    }
    let soonest = tokens
        .iter()
        .min_by_key(|(_, token)| token.expires.remaining(now))
        .map(|(key, _)| key.clone());
    if let Some(key) = soonest {
        tokens.remove(&key);
    }
}

/// A token with less remaining lifetime is stale; a token whose whole lifetime is less than twice as long is stale from half of it:
/// otherwise each call would fetch one.
const MIN_REMAINING_LIFE: Duration = Duration::from_secs(5 * 60);
/// Tokens with a longer lifetime are refreshed at half of it if the service sends no `refresh_in`.
const SHORT_LIFE: Duration = Duration::from_secs(2 * 3600);
const MAX_TOKENS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_token::ReceivedToken;
    use crate::simulation::issued_binding;
    use keybound_core::{ManagedIdentitySource, Scope, SecretString, Stage};
    use std::collections::BTreeSet;
    use tokio::time::Instant;

    /// Not the constant: a cache without a limit fails these tests.
    const LIMIT: usize = 4096;

    /// A full cache. Token 0 expires first, then token 1, and so on, a second apart.
    struct FullCache {
        cache: TokenCache,
        binding: Arc<CachedBinding>,
        start: DualTime,
    }

    impl FullCache {
        async fn new() -> Self {
            let binding = issued_binding().await;
            let start = DualTime {
                wall: binding.certificate().not_before(),
                monotonic: Instant::now(),
            };
            let full = Self {
                cache: TokenCache::default(),
                binding: Arc::new(CachedBinding::new(binding, start, 0.0)),
                start,
            };
            // At once: each `put` copies the map.
            full.cache.change(|tokens| {
                tokens.extend((0..LIMIT).map(|number| (key(number), full.token(number))));
            });
            assert_eq!(full.cached(), (0..LIMIT).collect());
            full
        }

        fn token(&self, number: usize) -> Arc<CachedToken> {
            let received = ReceivedToken {
                secret: SecretString::new("token".to_owned()),
                token_type: TokenType::MtlsPop,
                scope: key(number).scope,
                source: Some(ManagedIdentitySource::Imds),
                life: life(number),
                refresh_in: None,
            };
            let issued = IssuedToken::new(received, self.start, Stage::Token).unwrap();
            let binding = Some(Arc::clone(&self.binding));
            Arc::new(CachedToken::new(issued, binding, self.start, 0.0))
        }

        fn put(&self, number: usize, now: DualTime) {
            self.cache.put(key(number), self.token(number), now);
        }

        /// The numbers of the cached tokens.
        fn cached(&self) -> BTreeSet<usize> {
            let numbers = (0..2 * LIMIT).filter(|number| self.cache.get(&key(*number)).is_some());
            let numbers: BTreeSet<_> = numbers.collect();
            assert_eq!(self.cache.map.load().len(), numbers.len());
            numbers
        }
    }

    fn key(number: usize) -> TokenCacheKey {
        TokenCacheKey {
            scope: Scope::for_resource(&format!("api://{number}")).unwrap(),
            token_type: TokenType::MtlsPop,
            over_mtls: true,
            attestation: Attestation::None,
            min_strength: KeyStrength::Software,
        }
    }

    fn life(number: usize) -> Duration {
        Duration::from_secs(3600 + number as u64)
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_evicts_the_token_that_expires_first() {
        let full = FullCache::new().await;
        for number in LIMIT..LIMIT + 10 {
            full.put(number, full.start);
            let remaining = number + 1 - LIMIT..=number;
            assert_eq!(full.cached(), remaining.collect());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn replacing_a_token_evicts_no_other() {
        let full = FullCache::new().await;
        full.put(0, full.start);
        full.put(LIMIT / 2, full.start);
        assert_eq!(full.cached(), (0..LIMIT).collect());
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_evicts_all_expired_tokens() {
        let full = FullCache::new().await;
        let now = full.start.after(life(99));
        full.put(LIMIT, now);
        assert_eq!(full.cached(), (100..=LIMIT).collect());
    }
}
