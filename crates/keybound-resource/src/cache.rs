use crate::MIN_CACHE_BYTES;
use arc_swap::ArcSwapOption;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What was made of a text that peers sent, such as a verified token: bounded in bytes. Lookups take no lock and do not allocate.
///
/// A keyed hash of a part of the text finds the slot; equality of the whole text decides. The key of the hash is random, so that
/// peers cannot choose texts with the same slot.
pub(crate) struct Cache<V> {
    sets: Box<[Set<V>]>,
    hashed: Hashed,
    hasher: RandomState,
    bytes: AtomicUsize,
    max_bytes: usize,
    /// The set from which the next token is evicted if the memory is used up.
    hand: AtomicUsize,
}

/// The part of a text that is hashed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hashed {
    /// The end of a token: of its signature, which differs for each token. Shorter texts are not cached.
    Signature,
    /// Samples at equal distances: of a certificate, some are in the key and in the signature.
    #[cfg(feature = "tower")]
    Samples,
}

struct Entry<V> {
    text: Box<[u8]>,
    value: V,
    size: usize,
}

/// The slots of texts with the same part of the hash. The hashes are beside each other, so that a lookup reads one cache line and
/// then the entry.
struct Set<V> {
    hashes: [AtomicU64; WAYS],
    entries: [ArcSwapOption<Entry<V>>; WAYS],
}

impl<V> Default for Set<V> {
    fn default() -> Self {
        Self {
            hashes: Default::default(),
            entries: Default::default(),
        }
    }
}

impl<V> Cache<V> {
    /// A cache of at most `max_bytes`, including its own slots. `None` if these are fewer than [`MIN_CACHE_BYTES`].
    pub(crate) fn new(max_bytes: usize, hashed: Hashed) -> Option<Self> {
        if max_bytes < MIN_CACHE_BYTES {
            return None;
        }
        let sets = (max_bytes / SLOT_BYTES / WAYS).checked_next_power_of_two()?;
        let max_bytes = max_bytes.checked_sub(sets * size_of::<Set<V>>())?;
        Some(Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
            hashed,
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
            max_bytes,
            hand: AtomicUsize::new(0),
        })
    }

    /// Calls `read` with the value of exactly this text.
    pub(crate) fn read<T>(&self, text: &[u8], read: impl FnOnce(&V) -> T) -> Option<T> {
        let hash = self.hash(text)?;
        let set = self.set(hash);
        for (known, entry) in set.hashes.iter().zip(&set.entries) {
            if known.load(Ordering::Relaxed) == hash
                && let Some(entry) = &*entry.load()
                && *entry.text == *text
            {
                return Some(read(&entry.value));
            }
        }
        None
    }

    /// Adds a value, with its size in bytes. It replaces one with the same hash, or any other of a full set.
    pub(crate) fn insert(&self, text: &[u8], value: V, size: usize) {
        let Some(hash) = self.hash(text) else { return };
        let size = size_of::<Entry<V>>() + text.len() + size;
        if size > self.max_bytes {
            return;
        }
        let entry = Entry {
            text: text.into(),
            value,
            size,
        };
        let set = self.set(hash);
        let way = set.way_for(hash);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.replace(set, way, Some(Arc::new(entry)));
        set.hashes[way].store(hash, Ordering::Relaxed);
        self.evict();
    }

    /// Removes a text whose value is no longer valid.
    pub(crate) fn remove(&self, text: &[u8]) {
        let Some(hash) = self.hash(text) else { return };
        let set = self.set(hash);
        for way in 0..WAYS {
            let is_it = |entry: &Arc<Entry<V>>| *entry.text == *text;
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

    fn replace(&self, set: &Set<V>, way: usize, entry: Option<Arc<Entry<V>>>) {
        if let Some(removed) = set.entries[way].swap(entry) {
            self.bytes.fetch_sub(removed.size, Ordering::Relaxed);
        }
    }

    /// Not 0, which marks an empty slot. `None` for a text that is too short.
    fn hash(&self, text: &[u8]) -> Option<u64> {
        let hash = match self.hashed {
            Hashed::Signature => self.hasher.hash_one(text.last_chunk::<SIGNATURE>()?),
            #[cfg(feature = "tower")]
            Hashed::Samples => self.hash_of_samples(text),
        };
        Some(hash | 1)
    }

    #[cfg(feature = "tower")]
    fn hash_of_samples(&self, text: &[u8]) -> u64 {
        use std::hash::Hasher as _;
        let mut hasher = self.hasher.build_hasher();
        hasher.write_usize(text.len());
        let distance = text.len().div_ceil(SAMPLES).max(SAMPLE);
        for part in text.chunks(distance) {
            hasher.write(&part[..part.len().min(SAMPLE)]);
        }
        hasher.finish()
    }

    fn set(&self, hash: u64) -> &Set<V> {
        // The lowest bit is always set; the number of sets is a power of two.
        &self.sets[(hash >> 1) as usize & (self.sets.len() - 1)]
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl<V> Set<V> {
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

const WAYS: usize = 4;
/// A token has about 2.3 KB with its caller: at the bound, fewer than half of the slots are used.
const SLOT_BYTES: usize = 1024;
/// 32 characters of base64url are 192 bits of the signature.
const SIGNATURE: usize = 32;
#[cfg(feature = "tower")]
const SAMPLES: usize = 8;
#[cfg(feature = "tower")]
const SAMPLE: usize = 16;
