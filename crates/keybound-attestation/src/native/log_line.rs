use keybound_core::redact;
use std::sync::atomic::{AtomicU64, Ordering};

/// One line of the library's log: external text, from any thread, at any time.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLine<'a> {
    /// 0 error, 1 warning, 2 information, 3 debugging.
    pub(super) level: i32,
    pub(super) tag: &'a [u8],
    pub(super) function: &'a [u8],
    pub(super) number: i32,
    pub(super) message: &'a [u8],
}

impl LogLine<'_> {
    /// Logs it as one printable line, redacted.
    pub(super) fn log(&self) {
        macro_rules! log {
            ($level:ident) => {
                if tracing::enabled!(target: TARGET, tracing::Level::$level) {
                    tracing::event!(
                        target: TARGET,
                        tracing::Level::$level,
                        tag = readable(self.tag),
                        function = readable(self.function),
                        line = self.number,
                        "{}",
                        readable(self.message)
                    );
                }
            };
        }
        match self.level {
            ..=0 => log!(ERROR),
            1 => log!(WARN),
            2 => log!(INFO),
            _ => log!(DEBUG),
        }
    }
}

/// Limits the lines that are logged. Further lines are only counted.
#[derive(Debug)]
pub(super) struct LineLimit(AtomicU64);

impl LineLimit {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts a line; returns whether it is logged.
    pub(super) fn admits(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < MAX_LINES
    }

    /// Resets the count; returns how many lines were not logged.
    pub(super) fn reset(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed).saturating_sub(MAX_LINES)
    }
}

fn readable(bytes: &[u8]) -> String {
    redact(&String::from_utf8_lossy(bytes))
}

/// For one call, and the time until the next one.
pub(super) const MAX_LINES: u64 = 256;
pub(super) const TARGET: &str = "keybound_attestation::library";

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_testing::CapturedLog;

    fn logged(line: LogLine<'_>) -> String {
        let log = CapturedLog::default();
        log.during(|| line.log());
        log.text().trim_end().to_owned()
    }

    const LINE: LogLine<'_> = LogLine {
        level: 2,
        tag: b"AttestationClient",
        function: b"GetQuote",
        number: 42,
        message: b"Tbsi_Context_Create failed 0x8028400f",
    };

    #[test]
    fn logs_level_tag_function_and_number() {
        assert_eq!(
            logged(LINE),
            "INFO keybound_attestation::library Tbsi_Context_Create failed 0x8028400f tag=AttestationClient function=GetQuote line=42"
        );
        for (level, name) in [
            (-1, "ERROR"),
            (0, "ERROR"),
            (1, "WARN"),
            (3, "DEBUG"),
            (99, "DEBUG"),
        ] {
            assert!(logged(LogLine { level, ..LINE }).starts_with(name));
        }
    }

    #[test]
    fn secrets_stay_secret_in_log_lines() {
        let jwt = b"token: eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtYWEifQ.c2lnbmF0dXJl";
        let line = LogLine {
            tag: jwt,
            function: jwt,
            message: jwt,
            ..LINE
        };
        let logged = logged(line);
        assert!(
            !logged.contains("eyJ") && logged.contains("[redacted]"),
            "{logged}"
        );
    }

    #[test]
    fn logs_one_printable_bounded_line() {
        let mut message = b"\x1b[2J\xff\r\nforged".to_vec();
        message.extend(b" x".repeat(4000));
        let line = LogLine {
            message: &message,
            ..LINE
        };
        let logged = logged(line);
        assert!(!logged.contains(['\u{1b}', '\r', '\n']), "{logged:?}");
        assert!(logged.chars().count() < 1200, "{}", logged.len());
    }

    #[test]
    fn limits_and_counts_lines() {
        let limit = LineLimit::new();
        let admitted = (0..10_000).filter(|_| limit.admits()).count();
        assert_eq!(admitted as u64, MAX_LINES);
        assert_eq!(limit.reset(), 10_000 - MAX_LINES);
        assert!(limit.admits());
        assert_eq!(limit.reset(), 0);
    }
}
