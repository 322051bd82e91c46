//! What the library logs: foreign text, at any time, from any thread, in any amount.
use keybound_core::redact;
use std::sync::atomic::{AtomicU64, Ordering};

/// One line of the library's log, as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// 0 error, 1 warning, 2 information, 3 debugging.
    pub(super) level: i32,
    pub(super) tag: &'a [u8],
    pub(super) function: &'a [u8],
    pub(super) number: i32,
    pub(super) message: &'a [u8],
}

impl Line<'_> {
    /// Tells it: one printable line, without what looks like a secret. `Debug` of the fields never sees the raw bytes.
    pub(super) fn tell(&self) {
        macro_rules! tell {
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
            ..=0 => tell!(ERROR),
            1 => tell!(WARN),
            2 => tell!(INFO),
            _ => tell!(DEBUG),
        }
    }
}

/// How many more lines are logged. A library that logs without end costs one addition a line.
#[derive(Debug)]
pub(super) struct Allowance(AtomicU64);

#[cfg_attr(
    not(any(windows, test)),
    expect(dead_code, reason = "the library is for Windows")
)]
impl Allowance {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether one more line is logged.
    pub(super) fn admits(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < MOST_LINES
    }

    /// Starts again; returns how many lines were left out.
    pub(super) fn renew(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed).saturating_sub(MOST_LINES)
    }
}

#[cfg_attr(
    not(any(windows, test)),
    expect(dead_code, reason = "the library is for Windows")
)]
fn readable(bytes: &[u8]) -> String {
    redact(&String::from_utf8_lossy(bytes))
}

/// For one call, and what comes between it and the next one.
#[cfg_attr(
    not(any(windows, test)),
    expect(dead_code, reason = "the library is for Windows")
)]
pub(super) const MOST_LINES: u64 = 256;
pub(super) const TARGET: &str = "keybound_attestation::library";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<String>>);

    impl<S: tracing::Subscriber> Layer<S> for Logged {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut logged = self.0.lock().unwrap();
            logged.push_str(event.metadata().level().as_str());
            event.record(&mut Fields(&mut logged));
        }
    }

    struct Fields<'a>(&'a mut String);

    impl Visit for Fields<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.push_str(&format!(" {field}={value:?}"));
        }
    }

    fn logged(line: Line<'_>) -> String {
        let logged = Logged::default();
        let subscriber = tracing_subscriber::registry().with(logged.clone());
        tracing::subscriber::with_default(subscriber, || line.tell());
        let logged = logged.0.lock().unwrap();
        logged.clone()
    }

    const LINE: Line<'_> = Line {
        level: 2,
        tag: b"AttestationClient",
        function: b"GetQuote",
        number: 42,
        message: b"Tbsi_Context_Create failed 0x8028400f",
    };

    #[test]
    fn a_line_keeps_its_level_tag_function_and_number() {
        assert_eq!(
            logged(LINE),
            r#"INFO message=Tbsi_Context_Create failed 0x8028400f tag="AttestationClient" function="GetQuote" line=42"#
        );
        for (level, name) in [
            (-1, "ERROR"),
            (0, "ERROR"),
            (1, "WARN"),
            (3, "DEBUG"),
            (99, "DEBUG"),
        ] {
            assert!(logged(Line { level, ..LINE }).starts_with(name));
        }
    }

    #[test]
    fn secrets_stay_secret_in_the_librarys_lines() {
        let jwt = b"token: eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtYWEifQ.c2lnbmF0dXJl";
        let line = Line {
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
    fn hostile_lines_are_one_printable_bounded_line() {
        let mut message = b"\x1b[2J\xff\r\nforged".to_vec();
        message.extend(b" x".repeat(4000));
        let line = Line {
            message: &message,
            ..LINE
        };
        let logged = logged(line);
        assert!(!logged.contains(['\u{1b}', '\r', '\n']), "{logged:?}");
        assert!(logged.chars().count() < 1200, "{}", logged.len());
    }

    #[test]
    fn a_storm_is_cut_and_counted() {
        let allowance = Allowance::new();
        let admitted = (0..10_000).filter(|_| allowance.admits()).count();
        assert_eq!(admitted as u64, MOST_LINES);
        assert_eq!(allowance.renew(), 10_000 - MOST_LINES);
        assert!(allowance.admits());
        assert_eq!(allowance.renew(), 0);
    }
}
