//! `keybound doctor`: what it sends, what it prints where, and what it shares with `keybound selftest`.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use serde_json::Value;
use support::emulated::Emulated;

#[test]
fn requests_no_certificate_and_no_token() {
    let emulated = Emulated::in_this_process();
    let run = emulated.run(&["doctor", "--simulated"]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    let records = emulated.records();
    let mut legs: Vec<_> = records.iter().map(|record| record.leg).collect();
    legs.sort_unstable();
    // The last one is the token endpoint, by a path that it does not have.
    assert_eq!(legs, ["instance", "instance", "probe", "unknown"]);
    let presented = records
        .iter()
        .find_map(|record| record.client_certificate.as_ref());
    assert_eq!(presented, None, "no certificate is presented");
}

#[test]
fn prints_names_of_variables_and_not_their_values() {
    let emulated = Emulated::shared();
    let variables = [
        (
            "HTTPS_PROXY",
            "http://swordfish:swordfish@swordfish.invalid:3128",
        ),
        ("NO_PROXY", "swordfish.example"),
        ("IDENTITY_ENDPOINT", "http://swordfish.example/?swordfish"),
        ("IDENTITY_HEADER", "swordfish"),
        ("MSAL_MSI_V2_KEY_NAME", "swordfish"),
        ("ATTESTATION_CLIENTLIB_PATH", "/swordfish"),
        ("MSAL_MI_IMDSV2_ALLOWED_HOSTS", "swordfish.example"),
    ];
    for flags in [
        &[
            "--source",
            "imds",
            "--token-endpoint",
            "https://login.example",
        ][..],
        &["--source", "imds"],
        &["--source", "app-service", "--bearer"],
        &["--json"],
    ] {
        let mut command = emulated.keybound(&[&["doctor", "--timeout", "5"], flags].concat());
        let run = support::run(command.envs(variables));
        assert_eq!(run.status, Some(1), "{run:#?}");
        assert!(!run.printed().contains("swordfish"), "{run:#?}");
        for (name, _) in variables {
            assert!(run.stdout.contains(name), "{name}: {run:#?}");
        }
        let address = emulated.named("imds").trim_start_matches("http://");
        assert!(!run.stdout.contains(address), "{run:#?}");
    }
}

/// In a healthy pod no check fails, and nothing is sent to IMDS.
#[test]
fn checks_what_workload_identity_needs() {
    let emulated = Emulated::in_this_process();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let transcript = include_str!("transcripts/doctor-workload-identity.txt");
    let token = transcript.lines().find(|line| line.starts_with("eyJ"));
    std::fs::write(&file, token.unwrap()).unwrap();
    let flags = ["doctor", "--workload-identity", "--bearer", "--json"];
    let sts = emulated.named("sts").trim_end_matches('/');
    let id = "5a5a5a5a-0000-4000-8000-000000000001";
    for (file, status, federated) in [
        (file.to_str().unwrap(), 0, "ok"),
        ("/nowhere", 1, "problem"),
        ("", 1, "problem"),
    ] {
        let mut command = emulated.keybound(&[&flags[..], &["--authority", sts]].concat());
        command.env("AZURE_FEDERATED_TOKEN_FILE", file);
        let run = support::run(command.envs([("AZURE_TENANT_ID", id), ("AZURE_CLIENT_ID", id)]));
        assert_eq!(run.status, Some(status), "{run:#?}");
        let report = run.json();
        for (check, result) in [
            ("source", "skipped"),
            ("imds", "skipped"),
            ("machine", "skipped"),
            ("federated", federated),
            ("dns", "ok"),
            ("tls", "ok"),
            ("clock", "ok"),
        ] {
            let found = find(&report["checks"], "check", check);
            assert_eq!(found["result"], result, "{check}: {run:#?}");
        }
    }
    let records = emulated.records();
    let mut legs = records.iter().map(|record| record.leg);
    assert!(legs.all(|leg| leg == "unknown"), "{records:#?}");
}

/// A terminal shows styles, unless `NO_COLOR` or the kind of the terminal forbids them; nothing else does.
#[cfg(unix)]
#[test]
fn has_styles_on_a_terminal_only() {
    let arguments = ["doctor", "--imds", "http://127.0.0.1:1"];
    let with = |variables: &[(&str, &str)]| {
        let mut command = support::keybound(arguments);
        command.env("TERM", "xterm").envs(variables.iter().copied());
        command
    };
    for (variables, styled) in [
        (&[][..], true),
        (&[("NO_COLOR", "1")], false),
        (&[("CLICOLOR", "0")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let (status, shown) = support::terminal::run(&mut with(variables));
        assert_eq!(status, Some(1), "{shown}");
        assert!(shown.contains("doctor: 1 problem"), "{shown}");
        assert_eq!(shown.contains('\u{1b}'), styled, "{variables:?}: {shown:?}");
    }
    let run = support::run(&mut with(&[("CLICOLOR_FORCE", "1")]));
    assert!(!run.printed().contains('\u{1b}'), "{run:#?}");
}

/// The line that names the running checks does not remain on the terminal.
#[cfg(unix)]
#[test]
fn interrupt_removes_the_line_of_progress() {
    // Accepts connections, and never responds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let imds = format!("http://{}", silent.local_addr().unwrap());
    let mut command = support::keybound(["doctor", "--imds", &imds]);
    let (status, shown) = support::terminal::interrupt(&mut command, "waiting for imds");
    assert_eq!(status, Some(130), "{shown:?}");
    let removed = format!("\r{}\r", " ".repeat(79));
    assert!(shown.ends_with(&removed), "{shown:?}");
}

#[test]
fn shares_its_checks_with_selftest() {
    let emulated = Emulated::in_this_process();
    for (fault, flags) in [
        ("probe=status:404", &["--simulated"][..]),
        ("probe=html", &["--simulated"]),
        ("instance=status:404", &[]),
        ("instance=status:404", &["--simulated", "--no-attestation"]),
    ] {
        emulated.fault(fault);
        let doctor = emulated
            .run(&[&["doctor", "--json"], flags].concat())
            .json();
        let selftest = emulated.run(&[&["selftest", "--output", "json"], flags].concat());
        let selftest = selftest.json();
        for (check, step) in [("imds", "probe"), ("attestation", "attestation_library")] {
            let check = find(&doctor["checks"], "check", check);
            let step = find(&selftest["steps"], "step", step);
            for member in ["detail", "error"] {
                assert_eq!(check[member], step[member], "{fault} {flags:?}");
            }
            let is_skipped = |result: &Value| result == "skipped";
            assert_eq!(is_skipped(&check["result"]), is_skipped(&step["result"]));
        }
    }
}

fn find<'a>(results: &'a Value, member: &str, name: &str) -> &'a Value {
    let mut results = results.as_array().unwrap().iter();
    results.find(|result| result[member] == name).unwrap()
}
