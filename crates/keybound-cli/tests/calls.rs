//! `call` with the emulator: requests, responses, errors.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use std::fs;
use support::echo::Echo;
use support::emulated::Emulated;
use support::{Run, run_with_input, shows_a_jwt};

#[test]
fn reads_secret_of_vault_that_requests_certificate_by_renegotiation() {
    let emulated = Emulated::shared();
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        emulated.named("vault")
    );
    let run = emulated.run(&[
        "call",
        "--simulated",
        "--resource",
        "https://vault.azure.net",
        "--output",
        "json",
        &url,
    ]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    let result = run.json();
    assert_eq!(result["response"]["status"], 200);
    assert_eq!(result["response"]["body_encoding"], "json");
    assert_eq!(
        result["response"]["body"]["value"],
        "only the holder of the key reads this"
    );
    assert!(
        result["response"]["headers"]["content-type"]
            .as_str()
            .unwrap()
            .contains("json")
    );
    assert_eq!(result["token_type"], "mtls_pop");
    assert!(result["binding"].is_object());
    assert!(!shows_a_jwt(&run.printed()));
}

/// The key is in memory, or on Windows in CNG.
#[test]
fn calls_with_unattested_key_of_platform() {
    let emulated = Emulated::start(&["--attestation", "optional"]);
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        emulated.named("vault")
    );
    let key = ["--no-attestation", "--min-strength", "software"];
    let call = [
        "call",
        "--output",
        "json",
        "--resource",
        "https://vault.azure.net",
        &url,
    ];
    let run = emulated.run(&[&call[..], &key].concat());
    assert_eq!(run.status, Some(0), "{run:#?}");
    let result = run.json();
    assert_eq!(result["response"]["status"], 200);
    assert_eq!(result["binding"]["key_strength"], "software");
}

#[test]
fn writes_body_only() {
    let emulated = Emulated::shared();
    let run = emulated.run(&["call", "--simulated", "--output", "body"]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert!(
        serde_json::from_str::<serde_json::Value>(&run.stdout).is_ok(),
        "{run:#?}"
    );
}

#[test]
fn error_response_of_resource_fails_the_flow_and_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("emulator.toml");
    fs::write(&config, "[graph]\nforbidden = true\n").unwrap();
    let emulated = Emulated::start(&["--config", config.to_str().unwrap()]);
    let run = emulated.run(&["call", "--simulated", "--output", "json"]);
    assert_eq!(run.status, Some(1), "{run:#?}");
    let result = run.json();
    assert_eq!(result["error"]["code"], "refused");
    assert_eq!(result["error"]["stage"], "resource");
    assert_eq!(result["error"]["status"], 403);
    assert!(result["error"]["service"]["error"].is_string(), "{result}");
    assert_eq!(result["response"]["status"], 403);
    assert!(result["binding"].is_object());
    let text = emulated.run(&["call", "--simulated"]);
    assert_eq!(text.status, Some(1));
    assert!(text.stdout.contains("response: HTTP 403"), "{text:#?}");
    assert!(
        text.stderr.contains("stage: resource, code: refused"),
        "{text:#?}"
    );
}

#[test]
fn vault_rejects_token_for_another_resource() {
    let emulated = Emulated::shared();
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        emulated.named("vault")
    );
    let graph = "https://graph.microsoft.com";
    for option in ["--resource", "--scope"] {
        let run = emulated.run(&[
            "call",
            "--simulated",
            "--output",
            "json",
            option,
            graph,
            &url,
        ]);
        assert_eq!(run.status, Some(1), "{run:#?}");
        assert_eq!(run.json()["error"]["stage"], "resource");
    }
}

#[test]
fn derives_resource_from_url_of_vault() {
    let emulated = Emulated::shared();
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        emulated.named("vault")
    );
    let run = emulated.run(&["call", "--simulated", "--output", "json", &url]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert_eq!(run.json()["resource"], "https://vault.azure.net");
}

#[test]
fn sends_bearer_token_without_certificate() {
    let emulated = Emulated::shared();
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        emulated.named("vault")
    );
    let call = [
        "call",
        "--simulated",
        "--bearer-over-mtls",
        "--output",
        "json",
        &url,
    ];
    let run = emulated.run(&call);
    assert_eq!(run.status, Some(0), "{run:#?}");
    let result = run.json();
    assert_eq!(result["token_type"], "Bearer");
    assert!(result["binding"].is_null());
    assert_eq!(
        result["response"]["body"]["value"],
        "only the holder of the key reads this"
    );
    assert!(!shows_a_jwt(&run.printed()));
}

#[test]
fn answers_claims_challenge_once() {
    for (times, status) in [(1, 0), (2, 1)] {
        let fault = format!("graph=claims-challenge:{{\"a\":1}}*{times}");
        let emulated = Emulated::start(&["--fault", &fault]);
        let run = emulated.run(&["call", "--simulated", "--output", "json"]);
        assert_eq!(run.status, Some(status), "{run:#?}");
    }
}

#[test]
fn reads_body_from_command_line_file_and_standard_input() {
    let emulated = Emulated::shared();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    fs::write(&file, "{}").unwrap();
    let by_file = format!("@{}", file.display());
    // The simulated Graph supports GET only: 405 shows that it received a POST.
    let posted = |run: &Run| assert_eq!(run.json()["response"]["status"], 405, "{run:#?}");
    posted(&emulated.run(&["call", "--simulated", "--output", "json", "--data", "{}"]));
    posted(&emulated.run(&[
        "call",
        "--simulated",
        "--output",
        "json",
        "--data",
        &by_file,
    ]));
    let mut command =
        emulated.keybound(&["call", "--simulated", "--output", "json", "--data", "@-"]);
    posted(&run_with_input(&mut command, b"{}"));
    let put = [
        "call",
        "--simulated",
        "--output",
        "json",
        "-X",
        "GET",
        "--data",
        "{}",
        "--header",
        "X-Tag: 7",
    ];
    assert_eq!(emulated.run(&put).json()["response"]["status"], 200);
}

#[test]
fn reports_error_codes_of_failed_responses() {
    let emulated = Emulated::in_this_process();
    for (fault, timeout, code) in [
        ("graph=redirect", 60.0, "redirect_not_allowed"),
        ("graph=status:503", 60.0, "service_unavailable"),
        ("graph=oversized:67108864", 60.0, "response_too_large"),
        ("graph=truncated", 60.0, "invalid_response"),
        ("graph=hang", 3.0, "deadline_exceeded"),
    ] {
        emulated.fault(fault);
        let run = emulated.run_until("resource", timeout, &["call", "--simulated"]);
        assert_eq!(run.status, Some(1), "{fault}: {run:#?}");
        assert_eq!(run.json()["error"]["code"], code, "{fault}: {run:#?}");
        assert_eq!(
            run.json()["error"]["stage"],
            "resource",
            "{fault}: {run:#?}"
        );
    }
}

#[test]
fn hostile_errors_of_resource_have_no_control_characters() {
    let emulated = Emulated::in_this_process();
    let words = r#"graph=status:403,x-word=eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln,body={"error":{"code":"\u001b[2J","message":"\u202e\u009b31m\r\nerror: forged"}}"#;
    for output in ["text", "json"] {
        emulated.fault(words);
        let run = emulated.run(&["call", "--simulated", "-v", "--output", output]);
        assert_eq!(run.status, Some(1), "{run:#?}");
        let harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(run.printed().chars().all(harmless), "{run:#?}");
        assert!(
            !run.stderr
                .lines()
                .any(|line| line.starts_with("error: forged")),
            "{run:#?}"
        );
        assert!(!shows_a_jwt(&run.stderr), "{run:#?}");
    }
}

#[test]
fn abbreviates_echoed_token_unless_requested() {
    let emulated = Emulated::shared();
    let echo = Echo::start();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = echo.ca_file(folder.path(), emulated.named("ca_file"));
    for (output, shown) in [("text", 3), ("json", 4), ("body", 2)] {
        let arguments = ["call", "--simulated", "-v", "--ca-file", &ca_file];
        let arguments = [&arguments[..], &["--output", output, &echo.url]].concat();
        let run = emulated.run(&arguments);
        assert_eq!(run.status, Some(0), "{run:#?}");
        assert!(!shows_a_jwt(&run.printed()), "{run:#?}");
        let abbreviated = run.stdout.matches("eyJhbGciOi…").count();
        assert_eq!(abbreviated, shown, "{run:#?}");
        let whole = emulated.run(&[&arguments[..], &["--show-full-token"]].concat());
        assert!(shows_a_jwt(&whole.stdout), "{whole:#?}");
        assert!(!shows_a_jwt(&whole.stderr), "{whole:#?}");
    }
}
