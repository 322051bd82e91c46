//! Text output: sanitized for terminals; times and durations.
use der::DateTime;
use keybound::{Clock as _, SystemClock};
use keybound_core::printable;
use std::time::{Duration, SystemTime};

/// One line from outside, without control characters.
pub(crate) fn printable_line(line: &str) -> String {
    printable(line, MAX_LINE_BYTES)
}

/// Lines from outside: line ends are the only control characters that remain.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        printable(line, usize::MAX)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The start and the end of a long secret, to recognize it; nothing of a short one.
pub(crate) fn abbreviated(secret: &str) -> String {
    if secret.len() < MIN_ABBREVIATED_LENGTH || !secret.is_ascii() {
        return "…".to_owned();
    }
    format!("{}…{}", &secret[..10], &secret[secret.len() - 5..])
}

/// The time as RFC 3339 in UTC, whole seconds. Times outside 1970 to 9999 show as `out of range`.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    match DateTime::from_system_time(time) {
        Ok(time) => time.to_string(),
        Err(_) => "out of range".to_owned(),
    }
}

/// Now, as RFC 3339 in UTC with milliseconds: the start of each log line.
pub(crate) fn timestamp() -> String {
    let now = SystemClock.now();
    let millis = unix_time(now).subsec_millis();
    match rfc3339(now).strip_suffix('Z') {
        Some(seconds) => format!("{seconds}.{millis:03}Z"),
        None => rfc3339(now),
    }
}

/// The time since 1970; none for earlier ones.
pub(crate) fn unix_time(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// A duration in its two largest units: `23 h 59 min`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Milliseconds, rounded to microseconds.
pub(crate) fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// Longer lines from outside are cut.
const MAX_LINE_BYTES: usize = 4096;
/// The 15 characters that are shown are too much of a shorter secret.
const MIN_ABBREVIATED_LENGTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_control_characters_except_line_ends() {
        let text = "a\r\n\u{1b}]0;owned\u{7}b\rc\n\u{202e}d\u{9b}2J";
        let text = printable_lines(text);
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
        assert!(
            !text.contains('\u{202e}') && text.starts_with("a\n"),
            "{text:?}"
        );
    }

    #[test]
    fn abbreviates_long_secrets_and_hides_short_ones() {
        let secret = format!("eyJhbGciOi{}tail5", "x".repeat(100));
        assert_eq!(abbreviated(&secret), "eyJhbGciOi…tail5");
        assert_eq!(abbreviated("short-secret"), "…");
        assert_eq!(abbreviated(&"ä".repeat(100)), "…");
    }

    #[test]
    fn formats_times_in_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(951_782_400_500);
        assert_eq!(rfc3339(time), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp().len(), "2000-02-29T00:00:00.500Z".len());
    }

    #[test]
    fn formats_durations_in_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (86_399, "23 h 59 min"),
            (7 * 86_400, "7 d 0 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn rounds_milliseconds_to_three_digits() {
        assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.235);
    }
}
