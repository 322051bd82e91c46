//! Answers of proxies whose requests to the daemon timed out because the machine was busy.
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// How often that happened in a test.
#[derive(Default)]
pub struct Stalls(Cell<usize>);

impl Stalls {
    /// Sends a request, and sends it again if the proxy did not get a decision in time: twice at most. A proxy that refuses without
    /// waiting for one gives its answer at once.
    ///
    /// # Panics
    /// If it happens more often in this test than by chance.
    pub async fn decided<T>(
        &self,
        mut send: impl AsyncFnMut() -> T,
        is_undecided: impl Fn(&T) -> bool,
    ) -> T {
        for _ in 0..2 {
            let started = Instant::now();
            let answer = send().await;
            if !is_undecided(&answer) || started.elapsed() < SHORTEST_TIMEOUT {
                return answer;
            }
            self.0.update(|count| count + 1);
            assert!(self.0.get() <= MAX_LATE, "the proxy often gets no decision");
        }
        send().await
    }
}

/// That of proxies for a connection to the daemon.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_LATE: usize = 4;

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
            let answer = paused_runtime().block_on(Stalls::default().decided(
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

    #[test]
    #[should_panic(expected = "often gets no decision")]
    fn answers_that_are_often_late_fail_the_test() {
        let stalls = Stalls::default();
        paused_runtime().block_on(async {
            for _ in 0..=MAX_LATE {
                let mut late = [true, false].into_iter();
                let send = async || {
                    let is_late = late.next().unwrap();
                    tokio::time::sleep(SHORTEST_TIMEOUT * u32::from(is_late)).await;
                    is_late
                };
                stalls.decided(send, |is_late| *is_late).await;
            }
        });
    }
}
