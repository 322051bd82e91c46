use super::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// A supply that is used up and comes back with time: so that no hostile service can drive IMDS.
#[derive(Default)]
pub(crate) struct Supply(Mutex<Vec<Instant>>);

impl Supply {
    /// Whether there is one for a challenge. Two are left to remedies: a resource that challenges all the time does not
    /// hold up the replacement of a refused certificate, for which every other resource would wait.
    pub(crate) fn has_left_for_challenge(&self) -> bool {
        lock(&self.0)
            .iter()
            .filter(|at| at.elapsed() < COMES_BACK)
            .count()
            < MOST - FOR_REMEDIES
    }

    /// Takes one, if there is one: five in five minutes.
    pub(crate) fn take(&self) -> bool {
        let now = Instant::now();
        let mut taken = lock(&self.0);
        taken.retain(|at| now.saturating_duration_since(*at) < COMES_BACK);
        if taken.len() >= MOST {
            return false;
        }
        taken.push(now);
        true
    }
}

const MOST: usize = 5;
/// As many as one acquisition uses.
const FOR_REMEDIES: usize = 2;
/// Each comes back this much after it was taken.
const COMES_BACK: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_supply_is_used_up_and_comes_back() {
        let supply = Supply::default();
        assert_eq!((0..20).filter(|_| supply.take()).count(), MOST);
        tokio::time::advance(COMES_BACK).await;
        assert!(supply.take());
    }
}
