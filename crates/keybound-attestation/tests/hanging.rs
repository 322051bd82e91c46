//! A library that hangs at its start, in its own process: it blocks every later load.
#![cfg(windows)]
#![allow(clippy::unwrap_used, reason = "a test fails if its setup fails")]

#[path = "native/support.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod support;

use keybound_attestation::native::NativeProbe;
use keybound_core::ErrorKind;
use keybound_testing::CapturedLog;
use std::path::Path;
use std::time::Duration;
use support::{copy_of, failure, pinned};

#[test]
fn hanging_library_occupies_one_thread() {
    let log = CapturedLog::of_process();
    let path = copy_of("hanging.dll", "hanging");
    // Long enough for a machine under load to reach the start.
    let probe = hanging(&path, Duration::from_secs(10));
    let library = probe.library.unwrap();
    assert!(library.loaded && !library.started);
    assert_eq!(probe.places[0].found, Some(true));
    assert_eq!(log.lines_with("starting").len(), 1);
    for attempt in 0..5 {
        // Another file: with another thread it would be found and loaded.
        let path = copy_of("hanging.dll", &format!("hanging-{attempt}"));
        let probe = hanging(&path, Duration::from_millis(500));
        assert!(probe.places.is_empty() && probe.library.is_none());
    }
    assert_eq!(log.lines_with("starting").len(), 1);
}

fn hanging(path: &Path, limit: Duration) -> NativeProbe {
    let probe = pinned(path).probe_within(limit);
    let error = probe.failure.as_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::AttestationFailed);
    assert!(failure(error).to_string().contains("hangs"), "{error:?}");
    probe
}
