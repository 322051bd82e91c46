//! A limit for warnings that peers cause. Not part of the API.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Limits a warning to one a minute, so that peers cannot fill a log.
#[derive(Debug, Default)]
pub struct WarningLimit(Mutex<Occurrences>);

#[derive(Debug, Default)]
struct Occurrences {
    /// Since the last warning.
    count: u64,
    last_warning: Option<Instant>,
}

impl WarningLimit {
    /// Counts an occurrence. If a warning is due, returns the number of occurrences since the last one, including this one.
    pub fn count(&self) -> Option<u64> {
        // A panic cannot leave it incomplete.
        let mut occurrences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        occurrences.count += 1;
        let now = Instant::now();
        let is_recent = |last: Instant| now.saturating_duration_since(last) < INTERVAL;
        if occurrences.last_warning.is_some_and(is_recent) {
            return None;
        }
        occurrences.last_warning = Some(now);
        Some(std::mem::take(&mut occurrences.count))
    }
}

const INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn warns_once_a_minute_with_the_number_of_occurrences() {
        let limit = WarningLimit::default();
        assert_eq!(limit.count(), Some(1));
        for _ in 0..1000 {
            assert_eq!(limit.count(), None);
        }
        advance(INTERVAL - Duration::from_millis(1)).await;
        assert_eq!(limit.count(), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(limit.count(), Some(1002));
        assert_eq!(limit.count(), None);
        advance(10 * INTERVAL).await;
        assert_eq!(limit.count(), Some(2));
    }
}
