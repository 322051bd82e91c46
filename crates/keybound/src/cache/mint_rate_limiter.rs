use keybound_core::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Limits how often certificates are minted past IMDS's cache, and how often tokens of the host's source are requested past ours,
/// so that a hostile service cannot make a client flood them.
#[derive(Default)]
pub(crate) struct MintRateLimiter(Mutex<Vec<Instant>>);

impl MintRateLimiter {
    /// Whether a challenge may mint a certificate. Two mints are reserved for retries: a resource that challenges every request does
    /// not delay the replacement of a rejected certificate, for which every other resource would wait.
    pub(crate) fn available_for_challenge(&self) -> bool {
        lock(&self.0)
            .iter()
            .filter(|at| at.elapsed() < WINDOW)
            .count()
            < LIMIT - RESERVED_FOR_RETRIES
    }

    /// Counts a mint, if the limit allows it: five in five minutes.
    pub(crate) fn try_acquire(&self) -> bool {
        let now = Instant::now();
        let mut mints = lock(&self.0);
        mints.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        if mints.len() >= LIMIT {
            return false;
        }
        mints.push(now);
        true
    }
}

const LIMIT: usize = 5;
/// As many as one acquisition needs.
const RESERVED_FOR_RETRIES: usize = 2;
/// The time for which a mint counts.
const WINDOW: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn limits_mints_within_the_window() {
        let limiter = MintRateLimiter::default();
        assert_eq!((0..20).filter(|_| limiter.try_acquire()).count(), LIMIT);
        tokio::time::advance(WINDOW).await;
        assert!(limiter.try_acquire());
    }
}
