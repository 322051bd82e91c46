use super::MAX_STEP_BACK;
use std::sync::atomic::{AtomicI8, Ordering};

/// The step of the wall clock that the log has. Each step is logged once, and its end.
#[derive(Default)]
pub(super) struct LoggedStep(AtomicI8);

impl LoggedStep {
    /// Logs a new step, by the seconds that the wall clock is ahead.
    pub(super) fn log(&self, ahead: i64) {
        let logged = self.0.load(Ordering::Relaxed);
        let step = step(ahead, logged);
        let changes = step != logged
            && self
                .0
                .compare_exchange(logged, step, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if changes {
            log(step, ahead.unsigned_abs());
        }
    }
}

/// A step ends well within its limit: the difference of two clocks varies by a second.
fn step(ahead: i64, logged: i8) -> i8 {
    match ahead {
        ..MINUS_MAX => BACK,
        MINUS_MAX..MINUS_END if logged == BACK => BACK,
        _ if ahead > MAX_STEP_BACK => FORWARD,
        _ if ahead > END && logged == FORWARD => FORWARD,
        _ => NONE,
    }
}

fn log(step: i8, seconds: u64) {
    match step {
        BACK => tracing::warn!(
            seconds,
            "the wall clock was set back: tokens are verified by the time before"
        ),
        FORWARD => tracing::warn!(
            seconds,
            "the wall clock was set forward, or the host slept: tokens are verified by the new time"
        ),
        _ => tracing::info!("tokens are verified by the wall clock, whose step is over"),
    }
}

const BACK: i8 = -1;
const NONE: i8 = 0;
const FORWARD: i8 = 1;
/// In seconds.
const END: i64 = MAX_STEP_BACK / 2;
const MINUS_MAX: i64 = -MAX_STEP_BACK;
const MINUS_END: i64 = -END;

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_testing::CapturedLog;

    #[test]
    fn each_step_of_the_wall_clock_is_logged_once() {
        let logged = LoggedStep::default();
        let log = CapturedLog::default();
        log.during(|| {
            for ahead in [
                0, 1, -60, 60, -1, // Corrections.
                -61, -60, -61, -3600, -31, // Set back.
                -30, 0, // Reached.
                61, 60, 61, 86_400, 31,    // Set forward.
                -7200, // Set back directly.
                7200, 30,
            ] {
                logged.log(ahead);
            }
        });
        let lines: Vec<_> = log
            .lines()
            .iter()
            .map(|line| {
                (
                    line.level.to_string(),
                    line.field("seconds").map(str::to_owned),
                )
            })
            .collect();
        let expected = [
            ("WARN", Some("61")),
            ("INFO", None),
            ("WARN", Some("61")),
            ("WARN", Some("7200")),
            ("WARN", Some("7200")),
            ("INFO", None),
        ];
        let expected =
            expected.map(|(level, seconds)| (level.to_owned(), seconds.map(str::to_owned)));
        assert_eq!(lines, expected);
    }
}
