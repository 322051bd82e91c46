//! Failures of the services: stage, code and next step, within the timeout, without secrets.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use support::emulated::Emulated;
use support::{run, shows_a_jwt};

#[test]
fn reports_stage_code_and_next_step() {
    let emulated = Emulated::in_this_process();
    let wrong: Vec<_> = CASES
        .iter()
        .filter_map(|case| check(&emulated, *case).err())
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn check(emulated: &Emulated, (fault, timeout, stage, code): Case) -> Result<(), String> {
    emulated.fault(fault);
    let run = emulated.run_until(stage, timeout, &["get-token", "--simulated", "-v"]);
    let wrong = |what: &str| Err(format!("{fault}: {what}: {run:#?}"));
    let Ok(result) = serde_json::from_str::<serde_json::Value>(&run.stdout) else {
        return wrong("no JSON");
    };
    let error = &result["error"];
    if run.status != Some(1) {
        return wrong("status");
    }
    if error["stage"] != stage || error["code"] != code {
        return wrong("stage or code");
    }
    let next = error["next_step"].as_str().unwrap_or_default();
    if next.is_empty()
        || !error["message"]
            .as_str()
            .is_some_and(|message| message.ends_with(next))
    {
        return wrong("next step");
    }
    if shows_a_jwt(&run.printed()) {
        return wrong("a secret is printed");
    }
    Ok(())
}

#[test]
fn disabled_imds_v2_is_reported_without_a_request() {
    let emulated = Emulated::in_this_process();
    // A request would fail with another error.
    emulated.fault("metadata=status:400");
    for (value, code) in [
        ("1", "imds_v2_disabled"),
        ("True", "imds_v2_disabled"),
        ("yes", "refused"),
    ] {
        for command in ["get-token", "call"] {
            let arguments = [command, "--simulated", "--output", "json"];
            let run = run(emulated
                .keybound(&arguments)
                .env("MSAL_MI_DISABLE_IMDS_V2", value));
            assert_eq!(run.status, Some(1), "{run:#?}");
            let error = &run.json()["error"];
            assert_eq!(error["code"], code, "{value}: {run:#?}");
            if code == "imds_v2_disabled" {
                assert_eq!(error["stage"], "request", "{run:#?}");
                assert!(
                    error["message"]
                        .as_str()
                        .unwrap()
                        .contains("MSAL_MI_DISABLE_IMDS_V2")
                );
            }
        }
    }
    let selftest = ["selftest", "--simulated", "--output", "json"];
    let run = run(emulated
        .keybound(&selftest)
        .env("MSAL_MI_DISABLE_IMDS_V2", "1"));
    let probe = &run.json()["steps"][0];
    assert_eq!(probe["error"]["code"], "imds_v2_disabled", "{run:#?}");
}

#[test]
fn hostile_errors_of_services_have_no_control_characters() {
    let body = r#"{"error":"\u001b[2Jx","error_description":"a\r\nerror: forged\u009b31m\u202e","trace_id":"\u0007t"}"#;
    let fault = format!("token=status:400,body={body}");
    let emulated = Emulated::in_this_process();
    for output in ["text", "json"] {
        emulated.fault(&fault);
        let run = emulated.run(&["get-token", "--simulated", "-vv", "--output", output]);
        assert_eq!(run.status, Some(1), "{run:#?}");
        let harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(run.printed().chars().all(harmless), "{run:#?}");
        assert!(
            !run.stderr
                .lines()
                .any(|line| line.starts_with("error: forged")),
            "{run:#?}"
        );
    }
}

/// The fault, the timeout in seconds, and the stage and code of the error. Where the program would retry, the timeout is shorter
/// than the delay.
type Case = (&'static str, f64, &'static str, &'static str);
const CASES: &[Case] = &[
    (
        "metadata=status:404",
        0.9,
        "metadata",
        "imds_v2_unavailable",
    ),
    (
        "metadata=status:429",
        0.9,
        "metadata",
        "service_unavailable",
    ),
    ("metadata=no-server-header", 60.0, "metadata", "not_imds"),
    ("metadata=server-header:nginx", 60.0, "metadata", "not_imds"),
    (
        "metadata=oversized:67108864",
        60.0,
        "metadata",
        "response_too_large",
    ),
    (
        "metadata=redirect",
        60.0,
        "metadata",
        "redirect_not_allowed",
    ),
    ("metadata=html", 60.0, "metadata", "not_imds"),
    (
        "metadata=status:403,Server=docker",
        60.0,
        "metadata",
        "not_imds",
    ),
    (
        "metadata=missing-field:tenantId",
        60.0,
        "metadata",
        "invalid_response",
    ),
    ("metadata=close", 0.9, "metadata", "invalid_response"),
    ("metadata=hang", 1.0, "metadata", "deadline_exceeded"),
    (
        "attest=status:400",
        60.0,
        "attestation",
        "attestation_failed",
    ),
    ("issue=status:400", 60.0, "credential", "refused"),
    ("issue=html", 60.0, "credential", "invalid_response"),
    (
        "token=aadsts:392196",
        60.0,
        "token",
        "bound_tokens_not_accepted",
    ),
    (
        "token=aadsts:1000610",
        60.0,
        "token",
        "client_certificate_rejected",
    ),
    (
        "token=token-type:Bearer",
        60.0,
        "token",
        "token_type_mismatch",
    ),
    ("token=no-cnf", 60.0, "token", "token_not_bound"),
    ("token=other-cnf", 60.0, "token", "binding_mismatch"),
    ("token=redirect", 60.0, "token", "redirect_not_allowed"),
    ("token=garbage", 60.0, "token", "invalid_response"),
    ("token=hang", 3.0, "token", "deadline_exceeded"),
];
