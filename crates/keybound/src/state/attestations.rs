use super::lock;
use crate::flight::Flights;
use crate::moment::Moment;
use crate::progress::Progress;
use keybound_core::{AttestationCacheKey, AttestationToken, Result, UnverifiedJwt};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// Attestation tokens, by endpoint and key.
#[derive(Default)]
pub(crate) struct Attestations {
    kept: Mutex<HashMap<AttestationCacheKey, (AttestationToken, Moment)>>,
    pub(crate) flights: Flights<AttestationCacheKey, Result<AttestationToken>, Progress>,
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
    let ends = Duration::from_secs(jwt.claims.get("exp")?.as_u64()?);
    let now = now.wall.duration_since(std::time::UNIX_EPOCH).ok()?;
    let left = ends.checked_sub(now)?;
    Some(
        left.checked_sub(LEAST_REMAINING_LIFE)?
            .min(left.mul_f64(0.9)),
    )
}

const LEAST_REMAINING_LIFE: Duration = Duration::from_secs(5 * 60);
const MOST_KEPT: usize = 64;
