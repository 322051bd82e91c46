use super::lock;
use crate::moment::Moment;
use crate::single_flight::SingleFlight;
use keybound_core::{AttestationCacheKey, AttestationToken, Result, UnverifiedJwt};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// Attestation tokens, by endpoint and key.
#[derive(Default)]
pub(crate) struct Attestations {
    kept: Mutex<HashMap<AttestationCacheKey, (AttestationToken, Moment)>>,
    pub(crate) flights: SingleFlight<AttestationCacheKey, Result<AttestationToken>>,
}

impl Attestations {
    /// The token, while it is fresh.
    pub(crate) fn get(&self, key: &AttestationCacheKey, now: Moment) -> Option<AttestationToken> {
        lock(&self.kept)
            .get(key)
            .filter(|(_, until)| !until.has_come(now))
            .map(|(token, _)| token.clone())
    }

    /// Keeps a token until five minutes before its end, at most 90 % of its life. One that does not say when it ends is
    /// not kept.
    pub(crate) fn put(&self, key: AttestationCacheKey, token: &AttestationToken, now: Moment) {
        let Some(fresh) = fresh_for(token, now) else {
            return;
        };
        let mut kept = lock(&self.kept);
        kept.retain(|_, (_, until)| !until.has_come(now));
        if kept.len() < MOST_KEPT {
            kept.insert(key, (token.clone(), now.after(fresh)));
        }
    }

    /// Drops the token of a key, wherever it is from: a certificate that it led to was refused.
    pub(crate) fn drop_of(&self, key_id: &str) {
        lock(&self.kept).retain(|key, _| key.key_id() != key_id);
    }
}

fn fresh_for(token: &AttestationToken, now: Moment) -> Option<Duration> {
    let jwt = UnverifiedJwt::parse(token.expose())?;
    let ends = jwt.time("exp")?;
    let now = now.wall.duration_since(std::time::UNIX_EPOCH).ok()?;
    // It was just made: a host whose clock is behind does not lengthen its life.
    let begun = jwt.time("iat").map_or(now, |issued| issued.max(now));
    let left = ends.checked_sub(begun)?;
    Some(
        left.checked_sub(LEAST_REMAINING_LIFE)?
            .min(left.mul_f64(0.9)),
    )
}

const LEAST_REMAINING_LIFE: Duration = Duration::from_secs(5 * 60);
const MOST_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use std::time::SystemTime;
    use tokio::time::Instant;

    #[test]
    fn a_clock_that_is_behind_does_not_lengthen_the_life_of_an_attestation() {
        const HOUR: u64 = 3600;
        const ISSUED: u64 = 1_000 * HOUR;
        let fresh = |claims: &str, host: u64| {
            let [head, claims] = [r#"{"alg":"none"}"#, claims].map(|p| URL_SAFE_NO_PAD.encode(p));
            let token = AttestationToken::new(format!("{head}.{claims}.c2ln")).unwrap();
            let now = Moment {
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(host),
                steady: Instant::now(),
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
            // It is used once, and not cached.
            (&text, ISSUED, None),
        ] {
            assert_eq!(fresh(claims, host), expected, "{claims} at {host}");
        }
    }
}
