use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often tokens were found in the cache of a [`Verifier`](crate::Verifier). Verifiers that [have](crate::VerifierBuilder::cache_counters)
/// clones of one value count together, also one after the other.
#[derive(Clone, Default)]
pub struct CacheCounters(Arc<[Part; PARTS]>);

/// The lookups of some tokens. The parts are in separate cache lines: threads with different tokens do not slow each other down. Those with
/// the same token count the references to its caller in one place anyway.
#[derive(Default)]
#[repr(align(64))]
struct Part {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CacheCounters {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of requests that were decided by a cached token, whatever the decision.
    pub fn hits(&self) -> u64 {
        self.sum(|part| &part.hits)
    }

    /// The number of requests whose token was not cached and had to be verified, among them tokens that were refused. A verifier without a
    /// cache counts nothing.
    pub fn misses(&self) -> u64 {
        self.sum(|part| &part.misses)
    }

    pub(crate) fn count(&self, token: &[u8], is_hit: bool) {
        // The last but one character: the last one of base64url has fewer values.
        let character = token.iter().nth_back(1).copied().unwrap_or_default();
        let part = &self.0[usize::from(character) % PARTS];
        let counter = match is_hit {
            true => &part.hits,
            false => &part.misses,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn sum(&self, counter: impl Fn(&Part) -> &AtomicU64) -> u64 {
        let counts = self.0.iter().map(|part| counter(part).load(Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

impl fmt::Debug for CacheCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheCounters")
            .field("hits", &self.hits())
            .field("misses", &self.misses())
            .finish()
    }
}

const PARTS: usize = 8;
