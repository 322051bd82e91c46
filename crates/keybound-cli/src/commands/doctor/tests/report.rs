//! Reports as text and JSON.
use super::super::examination::transient_as_warning;
use super::{assert_finding, key, of_program, report, stale};
use crate::diagnosis::testing::MemoryStore;
use crate::diagnosis::{Finding, Level};
use keybound::store::BindingStore as _;
use keybound::{Error, ErrorKind, Stage};
use keybound_emulator::{Config, Emulator};
use keybound_testing::lines_match;
use std::sync::Arc;

#[test]
fn warns_of_errors_of_imds_that_requests_retry() {
    for (kind, level) in [
        (ErrorKind::ServiceUnavailable, Level::Warning),
        (ErrorKind::NotImds, Level::Problem),
        (ErrorKind::Unreachable, Level::Problem),
    ] {
        let error = Error::new(kind, Stage::Metadata, "why").with_status(429);
        let finding = transient_as_warning(Finding::failed("the probe failed", error));
        assert_finding(&finding, level, "the probe failed");
    }
}

/// A script that reads either member does the same.
#[test]
fn error_has_the_next_step_of_its_check() {
    for fault in ["probe=status:429", "probe=html", "instance=html"] {
        let emulator = Emulator::start(Config::default()).unwrap();
        emulator.inject(fault.parse().unwrap()).unwrap();
        let report = serde_json::to_value(report(&emulator, &Arc::default(), &[])).unwrap();
        let checks = report["checks"].as_array().unwrap().iter();
        let failed: Vec<_> = checks.filter(|check| !check["error"].is_null()).collect();
        assert!(!failed.is_empty(), "{fault}");
        for check in failed {
            let (next_step, error) = (&check["next_step"], &check["error"]);
            assert_eq!(&error["next_step"], next_step, "{fault}");
            let message = error["message"].as_str().unwrap();
            assert!(message.ends_with(next_step.as_str().unwrap()), "{message}");
        }
    }
}

#[test]
fn has_a_time_for_what_was_waited_for() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let report = serde_json::to_value(report(&emulator, &Arc::default(), &[])).unwrap();
    let checks = report["checks"].as_array().unwrap();
    for check in checks.iter().filter(|check| check["result"] == "skipped") {
        assert!(check["elapsed_ms"].is_null(), "{check}");
    }
    let imds = checks.iter().find(|check| check["check"] == "imds");
    assert!(imds.unwrap()["elapsed_ms"].is_number());
}

#[test]
fn shows_a_stale_certificate_of_the_store() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let store = Arc::new(MemoryStore::default());
    store.save(&key(), &stale(emulator.ready().sts.as_str()));
    let report = report(&emulator, &store, &[]);
    let expected = std::fs::read_to_string(of_program(
        "src/commands/doctor/tests/stale-certificate.txt",
    ));
    let text = anstream::adapter::strip_str(&report.text()).to_string();
    let expected = expected.unwrap();
    let (expected, lines): (Vec<_>, Vec<_>) = (expected.lines().collect(), text.lines().collect());
    assert!(lines_match(&expected, &lines), "{text}");
    assert!(report.is_ok(), "a warning is no problem");
    assert_eq!(store.entries().len(), 1, "the store does not change");
}

fn wide_error() -> String {
    let text = "世界 🙂🙂🙂 ｗｉｄｅ 한국어 ".repeat(20) + &"仮".repeat(200);
    format!(r#"{{"error":"x","error_description":"{text}"}}"#)
}

/// The columns of a line on a terminal. Of the tests' characters, those from CJK on have two.
fn columns(line: &str) -> usize {
    let is_wide = |c: &char| *c >= '\u{2e80}' && *c != char::REPLACEMENT_CHARACTER;
    line.chars().count() + line.chars().filter(is_wide).count()
}

/// Whatever services send, a report has printable lines of at most 80 columns, at most one screen of them, and no secret.
#[test]
fn hostile_texts_stay_on_one_screen() {
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", "eyJh".repeat(20));
    let body = format!(
        r#"{{"error":"x\u001b[2J","error_description":"\u202e you sent {token} {}"}}"#,
        "word ".repeat(500)
    );
    for fault in [
        format!("probe=status:403,Server={},body={body}", "s".repeat(300)),
        format!("probe=status:500,Server=IMDS/1,body={}", "x".repeat(6000)),
        format!("instance=status:400,body={body}"),
        r#"instance=set-field:securityProfile={"securityType":"[2J\u202e\u001b[31m"}"#.to_owned(),
        "instance=not-http".to_owned(),
        "probe=oversized".to_owned(),
        // Wide characters, and words longer than a line.
        format!("probe=status:403,Server=IMDS/1,body={}", wide_error()),
        format!(
            r#"instance=set-field:securityProfile={{"securityType":"{}"}}"#,
            "🙂".repeat(99)
        ),
    ] {
        let emulator = Emulator::start(Config::default()).unwrap();
        emulator.inject(fault.parse().unwrap()).unwrap();
        let report = report(&emulator, &Arc::default(), &[]);
        let text = anstream::adapter::strip_str(&report.text()).to_string();
        for line in text.lines() {
            assert!(columns(line) <= 80, "{fault}: {line}");
        }
        assert!(text.lines().count() <= 40, "{fault}: {text}");
        let json = crate::json::document(&report).unwrap();
        for output in [&text, &json] {
            let is_unsafe = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!output.contains(is_unsafe), "{fault}: {output:?}");
            assert!(!output.contains("eyJhbGciOi"), "{fault}: {output}");
        }
    }
}
