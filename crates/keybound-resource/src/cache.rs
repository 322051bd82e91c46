use crate::Caller;
use crate::keys::FoundKey;
use arc_swap::ArcSwapOption;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Verified tokens, bounded in bytes. Lookups take no lock and do not allocate.
///
/// A keyed hash of characters of the signature finds the slot; equality of the whole token decides. The key of the hash is
/// random, so that clients cannot choose tokens with the same slot.
pub(crate) struct TokenCache {
    sets: Box<[Set]>,
    hasher: RandomState,
    bytes: AtomicUsize,
    max_bytes: usize,
    /// The set from which the next token is evicted if the memory is used up.
    hand: AtomicUsize,
}

/// A verified token.
pub(crate) struct VerifiedToken {
    token: Box<[u8]>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) key: FoundKey,
}

/// The slots of tokens with the same part of the hash. The hashes are beside each other, so that a lookup reads one cache line and
/// then the entry.
#[derive(Default)]
struct Set {
    hashes: [AtomicU64; WAYS],
    entries: [ArcSwapOption<VerifiedToken>; WAYS],
}

impl TokenCache {
    /// A cache of at most `max_bytes`, including its own slots. `None` if there is no room for a single token.
    pub(crate) fn new(max_bytes: usize) -> Option<Self> {
        let sets = (max_bytes / SLOT_BYTES / WAYS).checked_next_power_of_two()?;
        let max_bytes = max_bytes.checked_sub(sets * size_of::<Set>())?;
        (max_bytes >= MIN_BYTES).then(|| Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
            max_bytes,
            hand: AtomicUsize::new(0),
        })
    }

    /// Calls `read` with the entry of exactly this token.
    pub(crate) fn read<T>(
        &self,
        token: &[u8],
        read: impl FnOnce(&VerifiedToken) -> T,
    ) -> Option<T> {
        let hash = self.hash(token)?;
        let set = self.set(hash);
        for (known, entry) in set.hashes.iter().zip(&set.entries) {
            if known.load(Ordering::Relaxed) == hash
                && let Some(entry) = &*entry.load()
                && *entry.token == *token
            {
                return Some(read(entry));
            }
        }
        None
    }

    /// Adds a verified token. It replaces one with the same hash, or any other of a full set.
    pub(crate) fn insert(&self, token: &[u8], caller: &Arc<Caller>, key: FoundKey) {
        let Some(hash) = self.hash(token) else { return };
        let entry = VerifiedToken {
            token: token.into(),
            caller: Arc::clone(caller),
            key,
        };
        if entry.size() > self.max_bytes {
            return;
        }
        let set = self.set(hash);
        let way = set.way_for(hash);
        self.bytes.fetch_add(entry.size(), Ordering::Relaxed);
        self.replace(set, way, Some(Arc::new(entry)));
        set.hashes[way].store(hash, Ordering::Relaxed);
        self.evict();
    }

    /// Removes a token that is no longer valid.
    pub(crate) fn remove(&self, token: &[u8]) {
        let Some(hash) = self.hash(token) else { return };
        let set = self.set(hash);
        for way in 0..WAYS {
            let is_it = |entry: &Arc<VerifiedToken>| *entry.token == *token;
            if set.entries[way].load().as_ref().is_some_and(is_it) {
                self.replace(set, way, None);
            }
        }
    }

    /// The memory of the entries, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Evicts entries, set by set, until the rest is within the bound.
    fn evict(&self) {
        for _ in 0..self.sets.len() {
            if self.bytes() <= self.max_bytes {
                return;
            }
            let hand = self.hand.fetch_add(1, Ordering::Relaxed);
            let set = &self.sets[hand % self.sets.len()];
            for way in 0..WAYS {
                self.replace(set, way, None);
            }
        }
    }

    fn replace(&self, set: &Set, way: usize, entry: Option<Arc<VerifiedToken>>) {
        if let Some(removed) = set.entries[way].swap(entry) {
            self.bytes.fetch_sub(removed.size(), Ordering::Relaxed);
        }
    }

    /// The hash of the end of the token: of its signature, which differs for each token. Not 0, which marks an empty slot. `None`
    /// for a token that is shorter than any signature.
    fn hash(&self, token: &[u8]) -> Option<u64> {
        let end = token.last_chunk::<HASHED>()?;
        Some(self.hasher.hash_one(end) | 1)
    }

    fn set(&self, hash: u64) -> &Set {
        // The lowest bit is always set; the number of sets is a power of two.
        &self.sets[(hash >> 1) as usize & (self.sets.len() - 1)]
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Set {
    /// The slot with this hash, else an empty one, else one that the hash chooses.
    fn way_for(&self, hash: u64) -> usize {
        let same = |way: &usize| self.hashes[*way].load(Ordering::Relaxed) == hash;
        let empty = |way: &usize| self.entries[*way].load().is_none();
        (0..WAYS)
            .find(same)
            .or_else(|| (0..WAYS).find(empty))
            .unwrap_or((hash >> 32) as usize % WAYS)
    }
}

impl VerifiedToken {
    fn size(&self) -> usize {
        size_of::<Self>() + self.token.len() + self.caller.size()
    }
}

const WAYS: usize = 4;
/// A token has about 2.3 KB with its caller: at the bound, fewer than half of the slots are used.
const SLOT_BYTES: usize = 1024;
const MIN_BYTES: usize = 32 * 1024;
/// 32 characters of base64url are 192 bits of the signature.
const HASHED: usize = 32;
