//! `call` with the emulator: requests, answers, refusals.
#![allow(clippy::unwrap_used, reason = "a test ends where its footing is gone")]

mod support;

use std::fs;
use support::echo::Echo;
use support::emulated::Emulated;
use support::{Run, run_with_input, shows_a_jwt};

#[test]
fn the_vaults_secret_is_read_with_the_certificate_it_asks_for_late() {
    let world = Emulated::shared();
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        world.named("vault")
    );
    let run = world.run(&[
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
    assert!(!shows_a_jwt(&run.seen()));
}

/// In memory, or on Windows in CNG.
#[test]
fn a_key_of_the_platform_is_enough_without_attestation() {
    let world = Emulated::start(&["--attestation", "optional"]);
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        world.named("vault")
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
    let run = world.run(&[&call[..], &key].concat());
    assert_eq!(run.status, Some(0), "{run:#?}");
    let result = run.json();
    assert_eq!(result["response"]["status"], 200);
    assert_eq!(result["binding"]["key_strength"], "software");
}

#[test]
fn the_body_alone_is_written_as_it_came() {
    let world = Emulated::shared();
    let run = world.run(&["call", "--simulated", "--output", "body"]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert!(
        serde_json::from_str::<serde_json::Value>(&run.stdout).is_ok(),
        "{run:#?}"
    );
}

#[test]
fn a_refusal_by_the_resource_fails_the_flow_and_shows_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("emulator.toml");
    fs::write(&config, "[graph]\nforbidden = true\n").unwrap();
    let world = Emulated::start(&["--config", config.to_str().unwrap()]);
    let run = world.run(&["call", "--simulated", "--output", "json"]);
    assert_eq!(run.status, Some(1), "{run:#?}");
    let result = run.json();
    assert_eq!(result["error"]["code"], "refused");
    assert_eq!(result["error"]["stage"], "resource");
    assert_eq!(result["error"]["status"], 403);
    assert!(result["error"]["service"]["error"].is_string(), "{result}");
    assert_eq!(result["response"]["status"], 403);
    assert!(result["binding"].is_object());
    let text = world.run(&["call", "--simulated"]);
    assert_eq!(text.status, Some(1));
    assert!(text.stdout.contains("response: HTTP 403"), "{text:#?}");
    assert!(
        text.stderr.contains("stage: resource, code: refused"),
        "{text:#?}"
    );
}

#[test]
fn a_token_for_another_resource_is_refused_by_the_vault() {
    let world = Emulated::shared();
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        world.named("vault")
    );
    let graph = "https://graph.microsoft.com";
    for option in ["--resource", "--scope"] {
        let run = world.run(&[
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
fn what_the_token_is_for_follows_from_the_url_of_a_vault() {
    let world = Emulated::shared();
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        world.named("vault")
    );
    let run = world.run(&["call", "--simulated", "--output", "json", &url]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert_eq!(run.json()["resource"], "https://vault.azure.net");
}

#[test]
fn a_bearer_token_is_sent_without_a_certificate() {
    let world = Emulated::shared();
    let url = format!(
        "{}/secrets/demo-secret?api-version=7.4",
        world.named("vault")
    );
    let call = ["call", "--simulated", "--bearer", "--output", "json", &url];
    let run = world.run(&call);
    assert_eq!(run.status, Some(0), "{run:#?}");
    let result = run.json();
    assert_eq!(result["token_type"], "Bearer");
    assert!(result["binding"].is_null());
    assert_eq!(
        result["response"]["body"]["value"],
        "only the holder of the key reads this"
    );
    assert!(!shows_a_jwt(&run.seen()));
}

#[test]
fn a_claims_challenge_is_answered_once() {
    for (times, status) in [(1, 0), (2, 1)] {
        let fault = format!("graph=claims-challenge:{{\"a\":1}}*{times}");
        let world = Emulated::start(&["--fault", &fault]);
        let run = world.run(&["call", "--simulated", "--output", "json"]);
        assert_eq!(run.status, Some(status), "{run:#?}");
    }
}

#[test]
fn bodies_come_from_the_command_line_files_and_standard_input() {
    let world = Emulated::shared();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    fs::write(&file, "{}").unwrap();
    let by_file = format!("@{}", file.display());
    // The look-alike answers GET only: what matters is that it saw a POST.
    let answered = |run: &Run| assert_eq!(run.json()["response"]["status"], 405, "{run:#?}");
    answered(&world.run(&["call", "--simulated", "--output", "json", "--data", "{}"]));
    answered(&world.run(&[
        "call",
        "--simulated",
        "--output",
        "json",
        "--data",
        &by_file,
    ]));
    let mut command = world.keybound(&["call", "--simulated", "--output", "json", "--data", "@-"]);
    answered(&run_with_input(&mut command, b"{}"));
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
    assert_eq!(world.run(&put).json()["response"]["status"], 200);
}

#[test]
fn responses_that_fail_are_reported_by_their_codes() {
    let world = Emulated::in_this_program();
    for (fault, timeout, code) in [
        ("graph=redirect", 60.0, "redirect_refused"),
        ("graph=status:503", 60.0, "service_unavailable"),
        ("graph=oversized:67108864", 60.0, "response_too_large"),
        ("graph=truncated", 60.0, "invalid_response"),
        ("graph=hang", 3.0, "deadline_reached"),
    ] {
        world.fault(fault);
        let run = world.run_until("resource", timeout, &["call", "--simulated"]);
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
fn the_words_of_a_hostile_resource_are_harmless_to_a_terminal() {
    let world = Emulated::in_this_program();
    let words = r#"graph=status:403,x-word=eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln,body={"error":{"code":"\u001b[2J","message":"\u202e\u009b31m\r\nerror: forged"}}"#;
    for output in ["text", "json"] {
        world.fault(words);
        let run = world.run(&["call", "--simulated", "-v", "--output", output]);
        assert_eq!(run.status, Some(1), "{run:#?}");
        let harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(run.seen().chars().all(harmless), "{run:#?}");
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
fn an_echoed_token_is_printed_whole_only_on_request() {
    let world = Emulated::shared();
    let echo = Echo::start();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = echo.ca_file(folder.path(), world.named("ca_file"));
    for (output, shown) in [("text", 3), ("json", 4), ("body", 2)] {
        let arguments = ["call", "--simulated", "-v", "--ca-file", &ca_file];
        let arguments = [&arguments[..], &["--output", output, &echo.url]].concat();
        let run = world.run(&arguments);
        assert_eq!(run.status, Some(0), "{run:#?}");
        assert!(!shows_a_jwt(&run.seen()), "{run:#?}");
        let abbreviated = run.stdout.matches("eyJhbGciOi…").count();
        assert_eq!(abbreviated, shown, "{run:#?}");
        let whole = world.run(&[&arguments[..], &["--show-full-token"]].concat());
        assert!(shows_a_jwt(&whole.stdout), "{whole:#?}");
        assert!(!shows_a_jwt(&whole.stderr), "{whole:#?}");
    }
}
