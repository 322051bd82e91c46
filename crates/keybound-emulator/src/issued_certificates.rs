use keybound_core::lock;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::time::SystemTime;

/// The cache of issued certificates.
#[derive(Default)]
pub(crate) struct IssuedCertificates(Mutex<VecDeque<Issued>>);

struct Issued {
    key: CacheKey,
    certificate: Vec<u8>,
    validity: Range<SystemTime>,
}

/// What distinguishes one cached certificate from another.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CacheKey {
    pub client_id: String,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub public_key: [u8; 32],
    pub attested: bool,
}

impl IssuedCertificates {
    /// The certificate, if it is in the first half of its lifetime, so that a renewal gets a new one.
    pub fn find(&self, key: &CacheKey, now: SystemTime) -> Option<Vec<u8>> {
        let issued = lock(&self.0);
        let found = issued.iter().find(|issued| issued.key == *key)?;
        let Range { start, end } = found.validity;
        let half = start + end.duration_since(start).ok()? / 2;
        (start..half)
            .contains(&now)
            .then(|| found.certificate.clone())
    }

    /// Adds a certificate, or replaces the one with the same key; evicts the oldest above the limit.
    pub fn insert(&self, key: CacheKey, certificate: Vec<u8>, validity: Range<SystemTime>) {
        let mut issued = lock(&self.0);
        issued.retain(|issued| issued.key != key);
        if issued.len() == MAX_CERTIFICATES {
            issued.pop_front();
        }
        issued.push_back(Issued {
            key,
            certificate,
            validity,
        });
    }

    /// Removes all certificates.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }
}

const MAX_CERTIFICATES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn limits_the_cache_and_evicts_the_oldest() {
        let (issued, start) = (IssuedCertificates::default(), SystemTime::UNIX_EPOCH);
        let key = |number: usize| CacheKey {
            client_id: number.to_string(),
            public_key: [0; 32],
            attested: false,
        };
        for number in 0..=MAX_CERTIFICATES {
            issued.insert(key(number), vec![1], start..start + DAY);
        }
        assert_eq!(lock(&issued.0).len(), MAX_CERTIFICATES);
        assert_eq!(issued.find(&key(0), start), None);
        assert_eq!(issued.find(&key(1), start), Some(vec![1]));
        issued.insert(key(1), vec![2], start..start + DAY);
        assert_eq!(issued.find(&key(1), start), Some(vec![2]));
        assert_eq!(lock(&issued.0).len(), MAX_CERTIFICATES);
    }
}
