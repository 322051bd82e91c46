//! The retry policy: which failures are retried, after which delay, how often.
use std::time::Duration;

/// The service of a request; each has its own rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leg {
    /// IMDS: metadata and issuecredential of v2, tokens of v1.
    Imds,
    /// The probe of IMDS, for which 404 is a result.
    ImdsProbe,
    /// Entra's token endpoint.
    Entra,
    /// Any other managed identity source.
    OtherSource,
}

/// The result of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A response with this status.
    Status(u16),
    /// No response within the timeout of the attempt.
    Timeout,
    /// No connection (a name without an address, no route, refused), or one that was closed before the end of the response.
    NoConnection,
}

/// Returns the delay before the next attempt, or `None` if there is none.
///
/// `attempt` is the number of the failed attempt, from 1. `retry_after` is the delay that the service requested.
pub fn delay(
    leg: Leg,
    attempt: u32,
    outcome: Outcome,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    match leg {
        Leg::Imds | Leg::ImdsProbe => imds(leg, attempt, outcome, retry_after),
        Leg::Entra => entra(attempt, outcome, retry_after),
        Leg::OtherSource => other_source(attempt, outcome, retry_after),
    }
}

fn imds(
    leg: Leg,
    attempt: u32,
    outcome: Outcome,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    if outcome == Outcome::Status(410) {
        return (attempt <= GONE_ATTEMPTS).then_some(GONE_WAIT);
    }
    let transient = match outcome {
        Outcome::Timeout | Outcome::NoConnection | Outcome::Status(408 | 429 | 500..=599) => true,
        Outcome::Status(404) => leg == Leg::Imds,
        Outcome::Status(_) => false,
    };
    if !transient || attempt > IMDS_ATTEMPTS {
        return None;
    }
    // At most 4 s: the number of attempts is checked above.
    requested_or(
        retry_after,
        Duration::from_secs(1 << attempt.saturating_sub(1)),
    )
}

/// The delay that the service requested, at least 1 s, unless it is too long; otherwise the usual one.
fn requested_or(retry_after: Option<Duration>, usual: Duration) -> Option<Duration> {
    match retry_after {
        Some(delay) if delay > MAX_RETRY_AFTER => None,
        Some(delay) => Some(delay.max(MIN_DELAY)),
        None => Some(usual),
    }
}

fn entra(attempt: u32, outcome: Outcome, retry_after: Option<Duration>) -> Option<Duration> {
    let transient = match outcome {
        Outcome::Timeout | Outcome::NoConnection => true,
        Outcome::Status(500..=599) => retry_after.is_none(),
        Outcome::Status(_) => false,
    };
    (transient && attempt <= 1).then_some(Duration::from_secs(1))
}

fn other_source(attempt: u32, outcome: Outcome, retry_after: Option<Duration>) -> Option<Duration> {
    let transient = matches!(
        outcome,
        Outcome::Timeout
            | Outcome::NoConnection
            | Outcome::Status(404 | 408 | 429 | 500 | 503 | 504)
    );
    if !transient || attempt > SOURCE_ATTEMPTS {
        return None;
    }
    // MSAL does not read the header here: a delay that is too long does not end the retries.
    let retry_after = retry_after.filter(|delay| *delay <= MAX_RETRY_AFTER);
    requested_or(retry_after, MIN_DELAY)
}

const MIN_DELAY: Duration = Duration::from_secs(1);
/// Three retries, after 1 s, 2 s and 4 s.
const IMDS_ATTEMPTS: u32 = 3;
/// Three retries, each after 1 s.
const SOURCE_ATTEMPTS: u32 = 3;
/// Status 410 means that the agent is being updated: a retry every 10 s, up to 7 times.
const GONE_ATTEMPTS: u32 = 7;
const GONE_WAIT: Duration = Duration::from_secs(10);
/// After a longer delay the caller has to retry.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(leg: Leg, outcome: Outcome, retry_after: Option<u64>) -> Vec<u64> {
        (1..20)
            .map_while(|attempt| delay(leg, attempt, outcome, retry_after.map(Duration::from_secs)))
            .map(|wait| wait.as_secs())
            .collect()
    }

    #[test]
    fn retries_imds() {
        for outcome in [404, 408, 429, 500, 503]
            .map(Outcome::Status)
            .into_iter()
            .chain([Outcome::Timeout, Outcome::NoConnection])
        {
            assert_eq!(schedule(Leg::Imds, outcome, None), [1, 2, 4], "{outcome:?}");
        }
        assert_eq!(schedule(Leg::Imds, Outcome::Status(410), None), [10; 7]);
        for status in [400, 401, 403, 302, 200] {
            assert!(
                schedule(Leg::Imds, Outcome::Status(status), None).is_empty(),
                "{status}"
            );
        }
        assert_eq!(
            schedule(Leg::Imds, Outcome::Status(429), Some(30)),
            [30, 30, 30]
        );
        assert!(schedule(Leg::Imds, Outcome::Status(429), Some(31)).is_empty());
    }

    #[test]
    fn does_not_retry_probe_after_404() {
        assert!(schedule(Leg::ImdsProbe, Outcome::Status(404), None).is_empty());
        for outcome in [Outcome::Status(500), Outcome::NoConnection] {
            assert_eq!(schedule(Leg::ImdsProbe, outcome, None), [1, 2, 4]);
        }
    }

    #[test]
    fn retries_entra_once() {
        assert_eq!(schedule(Leg::Entra, Outcome::Status(503), None), [1]);
        for outcome in [Outcome::Timeout, Outcome::NoConnection] {
            assert_eq!(schedule(Leg::Entra, outcome, None), [1], "{outcome:?}");
        }
        assert!(schedule(Leg::Entra, Outcome::Status(503), Some(1)).is_empty());
        for status in [400, 401, 403, 404, 429] {
            assert!(
                schedule(Leg::Entra, Outcome::Status(status), None).is_empty(),
                "{status}"
            );
        }
    }

    #[test]
    fn bounds_delays_for_every_attempt() {
        for leg in [Leg::Imds, Leg::ImdsProbe, Leg::Entra, Leg::OtherSource] {
            for attempt in [0, 1, u32::MAX] {
                for outcome in [Outcome::Timeout, Outcome::Status(410), Outcome::Status(503)] {
                    let wait = delay(leg, attempt, outcome, None);
                    assert!(
                        wait.is_none_or(|wait| wait <= GONE_WAIT),
                        "{leg:?} {attempt}"
                    );
                    assert!(attempt < 20 || wait.is_none(), "{leg:?} {attempt}");
                }
            }
        }
    }

    #[test]
    fn retries_other_sources() {
        for outcome in [Outcome::Status(504), Outcome::NoConnection] {
            assert_eq!(schedule(Leg::OtherSource, outcome, None), [1, 1, 1]);
        }
        for status in [400, 401, 403, 410, 501, 502] {
            let outcome = Outcome::Status(status);
            assert!(
                schedule(Leg::OtherSource, outcome, None).is_empty(),
                "{status}"
            );
        }
        let throttled = Outcome::Status(429);
        for leg in [Leg::Imds, Leg::OtherSource] {
            assert_eq!(schedule(leg, throttled, Some(0)), [1, 1, 1], "{leg:?}");
        }
        assert_eq!(schedule(Leg::OtherSource, throttled, Some(5)), [5, 5, 5]);
        assert_eq!(schedule(Leg::OtherSource, throttled, Some(31)), [1, 1, 1]);
    }
}
