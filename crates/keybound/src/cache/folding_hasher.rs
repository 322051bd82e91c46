//! A fast hash for the short keys of bounded caches: a caller that chooses colliding keys causes a scan of a few thousand entries at
//! most. The seed is random.
use std::hash::{BuildHasher, Hasher, RandomState};

/// Builds hashers with the same seed.
#[derive(Clone)]
pub(crate) struct FoldingHash {
    seed: u64,
    factor: u64,
}

impl Default for FoldingHash {
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            seed: random.hash_one(1),
            // An even factor would lose bits.
            factor: random.hash_one(2) | 1,
        }
    }
}

impl BuildHasher for FoldingHash {
    type Hasher = FoldingHasher;

    fn build_hasher(&self) -> FoldingHasher {
        FoldingHasher {
            state: self.seed,
            factor: self.factor,
        }
    }
}

/// Multiplies each word to 128 bits and folds the halves.
pub(crate) struct FoldingHasher {
    state: u64,
    factor: u64,
}

impl Hasher for FoldingHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        self.write_u64(u64::from_le_bytes(last) ^ (tail.len() as u64) << 56);
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn similar_keys_get_different_hashes() {
        let hash = FoldingHash::default();
        let hashes: HashSet<_> = (0..4096)
            .map(|number| hash.hash_one(format!("https://resource-{number}.example.net/.default")))
            .collect();
        assert_eq!(hashes.len(), 4096);
        // The buckets of a table of this size.
        let buckets: HashSet<_> = hashes.iter().map(|hash| hash % 8192).collect();
        assert!(buckets.len() > 3000, "{}", buckets.len());
        assert_ne!(hash.hash_one("a"), FoldingHash::default().hash_one("a"));
    }
}
