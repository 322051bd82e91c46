//! The program with attestation libraries on Windows: Microsoft's, and an unsigned fake. Both are provided by
//! scripts/attestation-libraries.
#![cfg(windows)]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use std::path::PathBuf;
use support::emulated::Emulated;
use support::{keybound, run};

#[test]
fn finds_and_starts_microsofts_library_named_by_environment() {
    let mut command = keybound(["attestation", "probe"]);
    let run = run(command.env("ATTESTATION_CLIENTLIB_PATH", library(REAL)));
    assert_eq!(run.status, Some(0), "{run:#?}");
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("found ") && lines[0].ends_with(REAL));
    assert_eq!(
        lines[3..],
        [
            "trust:   signed by Microsoft Corporation",
            "loaded:  yes",
            "started: yes"
        ]
    );
}

#[test]
fn uses_unsigned_library_only_with_its_hash() {
    let fake = library("fake_library.dll");
    let named = [
        "attestation",
        "probe",
        "--json",
        "--attestation-library",
        &fake,
    ];
    let refused = run(&mut keybound(named));
    assert_eq!(refused.status, Some(1), "{refused:#?}");
    let report = refused.json();
    assert_eq!(report["error"]["code"], "attestation_library_unusable");
    assert_eq!(report["library"]["trust"], "refused");
    assert_eq!(report["library"]["loaded"], false);

    let hash = report["library"]["sha256"].as_str().unwrap();
    let pinned = [&named[..], &["--attestation-library-sha256", hash]].concat();
    let used = run(&mut keybound(pinned));
    assert_eq!(used.status, Some(0), "{used:#?}");
    let report = used.json();
    assert_eq!(report["ready"], true);
    assert_eq!(report["library"]["trust"], "pinned");
    assert_eq!(report["library"]["started"], true);
}

/// The library attests KeyGuard keys only.
#[test]
fn microsofts_library_does_not_attest_software_key() {
    let emulated = Emulated::shared();
    let arguments = [
        "get-token",
        "--min-strength",
        "software",
        "--output",
        "json",
    ];
    let mut command = emulated.keybound(&arguments);
    let run = run(command.env("ATTESTATION_CLIENTLIB_PATH", library(REAL)));
    assert_eq!(run.status, Some(1), "{run:#?}");
    let error = &run.json()["error"];
    assert_eq!(error["code"], "attestation_unavailable", "{run:#?}");
    assert_eq!(error["stage"], "attestation");
}

fn library(name: &str) -> String {
    let folder = std::env::var_os("KEYBOUND_ATTESTATION_LIBRARIES");
    let folder = folder.expect(
        "KEYBOUND_ATTESTATION_LIBRARIES must be the path of a folder: run scripts/test-windows",
    );
    let path = std::path::absolute(PathBuf::from(folder).join(name)).unwrap();
    assert!(
        path.exists(),
        "{} is missing: scripts/attestation-libraries says why",
        path.display()
    );
    path.to_str().unwrap().to_owned()
}

const REAL: &str = "AttestationClientLib.dll";
