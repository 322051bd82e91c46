//! Answers of proxies whose requests to the daemon timed out because the machine was busy.
use std::time::Duration;
use tokio::time::Instant;

/// Sends a request, and sends it again if the proxy did not get a decision in time: twice at most. A proxy that refuses without waiting
/// for one gives its answer at once.
pub async fn decided<T>(mut send: impl AsyncFnMut() -> T, is_undecided: impl Fn(&T) -> bool) -> T {
    for _ in 0..2 {
        let started = Instant::now();
        let answer = send().await;
        if !is_undecided(&answer) || started.elapsed() < SHORTEST_TIMEOUT {
            return answer;
        }
    }
    send().await
}

/// That of proxies for a connection to the daemon.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::paused_runtime;

    #[test]
    fn late_answers_are_not_the_last_ones() {
        const LATE: u64 = 3000;
        for (answers, expected) in [
            (&[(500, LATE), (401, 0)][..], 401),
            (&[(500, LATE), (500, LATE), (401, 0)], 401),
            // At once, so that the proxy did not wait.
            (&[(500, 0), (401, 0)], 500),
            (&[(500, LATE), (500, LATE), (500, LATE), (401, 0)], 500),
            // A decision.
            (&[(403, LATE), (401, 0)], 403),
        ] {
            let mut answers = answers.iter();
            let answer = paused_runtime().block_on(decided(
                async || {
                    let (status, late) = answers.next().unwrap();
                    tokio::time::sleep(Duration::from_millis(*late)).await;
                    *status
                },
                |status| *status == 500,
            ));
            assert_eq!(answer, expected);
        }
    }
}
