use super::DualTime;
use crate::single_flight::SingleFlight;
use keybound_core::{AttestationCacheKey, AttestationToken, Result, UnverifiedJwt, lock};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// Attestation tokens, by endpoint and key.
#[derive(Default)]
pub(crate) struct AttestationCache {
    tokens: Mutex<HashMap<AttestationCacheKey, (AttestationToken, DualTime)>>,
    pub(crate) flights: SingleFlight<AttestationCacheKey, Result<AttestationToken>>,
}

impl AttestationCache {
    /// The token, while it is fresh.
    pub(crate) fn get(&self, key: &AttestationCacheKey, now: DualTime) -> Option<AttestationToken> {
        lock(&self.tokens)
            .get(key)
            .filter(|(_, until)| !until.has_passed(now))
            .map(|(token, _)| token.clone())
    }

    /// Caches a token until five minutes before it expires, at most for 90 % of its lifetime. A token without an expiry is not cached.
    pub(crate) fn put(&self, key: AttestationCacheKey, token: &AttestationToken, now: DualTime) {
        let Some(fresh) = fresh_for(token, now) else {
            return;
        };
        let mut tokens = lock(&self.tokens);
        tokens.retain(|_, (_, until)| !until.has_passed(now));
        if tokens.len() < MAX_ATTESTATIONS {
            tokens.insert(key, (token.clone(), now.after(fresh)));
        }
    }

    /// Evicts the tokens of a key for every endpoint, since a certificate that was issued with one was rejected.
    pub(crate) fn drop_of(&self, key_id: &str) {
        lock(&self.tokens).retain(|key, _| key.key_id() != key_id);
    }
}

fn fresh_for(token: &AttestationToken, now: DualTime) -> Option<Duration> {
    let jwt = UnverifiedJwt::parse(token.expose())?;
    let expires = jwt.time("exp")?;
    let now = now.wall.duration_since(std::time::UNIX_EPOCH).ok()?;
    // It was just issued: a host clock that is behind does not extend its lifetime.
    let start = jwt.time("iat").map_or(now, |issued| issued.max(now));
    let remaining = expires.checked_sub(start)?;
    let remaining_at_end = remaining.checked_sub(MIN_REMAINING_LIFE)?;
    Some(remaining_at_end.min(remaining.mul_f64(0.9)))
}

const MIN_REMAINING_LIFE: Duration = Duration::from_secs(5 * 60);
const MAX_ATTESTATIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use std::time::SystemTime;
    use tokio::time::Instant;

    #[test]
    fn caches_a_limited_number_of_attestations() {
        let cache = AttestationCache::default();
        let key = |number: usize| {
            AttestationCacheKey::new(&"https://maa.example".parse().unwrap(), &number.to_string())
        };
        let [head, claims] =
            [r#"{"alg":"none"}"#, r#"{"iat":0,"exp":3600}"#].map(|p| URL_SAFE_NO_PAD.encode(p));
        let token = AttestationToken::new(format!("{head}.{claims}.c2ln")).unwrap();
        let start = DualTime {
            wall: SystemTime::UNIX_EPOCH,
            monotonic: Instant::now(),
        };
        for number in 0..128 {
            cache.put(key(number), &token, start);
        }
        let cached = |number: &usize| cache.get(&key(*number), start).is_some();
        assert_eq!((0..128).filter(cached).count(), 64);
        // Expired tokens make room.
        let later = DualTime {
            wall: start.wall + Duration::from_secs(1800),
            monotonic: start.monotonic + Duration::from_secs(3600),
        };
        cache.put(key(0), &token, later);
        assert!(cache.get(&key(0), later).is_some());
        assert_eq!(lock(&cache.tokens).len(), 1);
    }

    #[test]
    fn slow_host_clock_does_not_extend_attestation_lifetime() {
        const HOUR: u64 = 3600;
        const ISSUED: u64 = 1_000 * HOUR;
        let fresh = |claims: &str, host: u64| {
            let [head, claims] = [r#"{"alg":"none"}"#, claims].map(|p| URL_SAFE_NO_PAD.encode(p));
            let token = AttestationToken::new(format!("{head}.{claims}.c2ln")).unwrap();
            let now = DualTime {
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(host),
                monotonic: Instant::now(),
            };
            fresh_for(&token, now).map(|fresh| fresh.as_secs())
        };
        let dated = format!(r#"{{"iat":{ISSUED},"exp":{}}}"#, ISSUED + HOUR);
        let fractions = format!(r#"{{"iat":{ISSUED}.5,"exp":{}.75}}"#, ISSUED + HOUR);
        let text = format!(r#"{{"exp":"{}"}}"#, ISSUED + HOUR);
        let undated = format!(r#"{{"exp":{}}}"#, ISSUED + HOUR);
        for (claims, host, expected) in [
            (&dated, ISSUED, Some(54 * 60)),
            (&dated, ISSUED - 24 * HOUR, Some(54 * 60)),
            (&dated, ISSUED + HOUR / 2, Some(25 * 60)),
            (&dated, ISSUED + HOUR, None),
            (&undated, ISSUED, Some(54 * 60)),
            (&fractions, ISSUED, Some(54 * 60)),
            // Not a number: used once, not cached.
            (&text, ISSUED, None),
        ] {
            assert_eq!(fresh(claims, host), expected, "{claims} at {host}");
        }
    }
}
