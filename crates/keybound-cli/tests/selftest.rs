//! `keybound selftest`: its reports for success and for failures, without secrets.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use keybound_emulator::{Config, IdentityType};
use serde_json::Value;
use support::echo::Echo;
use support::emulated::Emulated;
use support::{Run, WITHOUT_KEYGUARD, shows_a_jwt};

#[test]
fn reports_failure_at_its_step_and_skips_dependent_steps() {
    let emulated = Emulated::in_this_process();
    let url = secret_url(&emulated);
    let wrong: Vec<_> = CASES
        .iter()
        .filter_map(|case| check(&emulated, &url, *case).err())
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn check(emulated: &Emulated, url: &str, (fault, expected, code): Case) -> Result<(), String> {
    emulated.fault(fault);
    let run = report(emulated, &["--call", url]);
    let report = run.json();
    let results: Vec<_> = steps(&report)
        .map(|step| initial(&step["result"]))
        .collect();
    let results = results.concat();
    let codes: Vec<_> = steps(&report)
        .filter_map(|step| step["error"]["code"].as_str())
        .collect();
    if results != expected || codes != [code] || run.status != Some(1) || report["ok"] != false {
        return Err(format!(
            "{fault}: {results}, {codes:?}, expected {expected}, {code}: {run:#?}"
        ));
    }
    let next = steps(&report).find_map(|step| step["error"]["next_step"].as_str());
    if next.is_none_or(str::is_empty) || shows_a_jwt(&run.printed()) {
        return Err(format!("{fault}: no next step, or a secret: {run:#?}"));
    }
    Ok(())
}

#[test]
fn prints_full_ids_only_on_request() {
    let emulated = Emulated::shared();
    let config = Config::default();
    let user = config
        .identities
        .iter()
        .find(|identity| identity.kind == IdentityType::User)
        .unwrap();
    let (client_id, tenant) = (user.client_id.as_str(), config.tenant_id.as_str());
    for output in ["text", "json"] {
        let arguments = ["selftest", "--simulated", "--client-id", client_id];
        let arguments = [&arguments[..], &["--output", output]].concat();
        let run = emulated.run(&arguments);
        assert_eq!(run.status, Some(0), "{run:#?}");
        let output = run.stdout.to_ascii_lowercase();
        let short = |id: &str| format!("{}…", &id[..8].to_ascii_lowercase());
        for id in [client_id, tenant] {
            assert!(!output.contains(&id.to_ascii_lowercase()), "{run:#?}");
            assert!(output.contains(&short(id)), "{run:#?}");
        }
        let run = emulated.run(&[&arguments[..], &["--show-ids"]].concat());
        let output = run.stdout.to_ascii_lowercase();
        for id in [client_id, tenant] {
            assert!(output.contains(&id.to_ascii_lowercase()), "{run:#?}");
        }
        assert!(!shows_a_jwt(&run.printed()), "{run:#?}");
    }
}

#[test]
fn abbreviates_resource_ids() {
    let config = Config::default();
    let mut identities = config.identities.iter();
    let id = identities
        .find_map(|identity| identity.resource_id.as_deref())
        .unwrap();
    let run = report(Emulated::shared(), &["--resource-id", id]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert_eq!(run.json()["request"]["identity"], "mi_res_id …");
    assert!(!run.printed().contains(id), "{run:#?}");
}

#[test]
fn never_prints_response_of_resource() {
    let emulated = Emulated::shared();
    let echo = Echo::start();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = echo.ca_file(folder.path(), emulated.named("ca_file"));
    let url = format!("{}?sig=swordfish", echo.url);
    for output in ["text", "json"] {
        let arguments = ["selftest", "--simulated", "-vv", "--ca-file", &ca_file];
        let arguments = [&arguments[..], &["--output", output, "--call", &url]].concat();
        let run = emulated.run(&arguments);
        assert_eq!(run.status, Some(0), "{run:#?}");
        assert!(!shows_a_jwt(&run.printed()), "{run:#?}");
        assert!(!run.stdout.contains("swordfish"), "{run:#?}");
        assert!(
            run.stdout.contains("never requested the certificate"),
            "{run:#?}"
        );
    }
}

#[test]
fn redacts_secrets_in_errors_of_services() {
    let emulated = Emulated::in_this_process();
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", "eyJh".repeat(20));
    let body = format!(
        r#"{{"error":"x","error_description":"you sent {token}\u001b[2J","trace_id":"{token}"}}"#
    );
    for output in ["text", "json"] {
        emulated.fault(&format!("token=status:400,body={body}"));
        let run = emulated.run(&["selftest", "--simulated", "--output", output]);
        assert_eq!(run.status, Some(1), "{run:#?}");
        assert!(run.stdout.contains("you sent [redacted]"), "{run:#?}");
        assert!(!run.printed().contains("eyJhbGciOi"), "{run:#?}");
        let harmless = |c: char| c == '\n' || !c.is_control();
        assert!(run.printed().chars().all(harmless), "{run:#?}");
    }
}

#[test]
fn reports_best_key_where_it_is_below_minimum_strength() {
    let emulated = Emulated::shared();
    let arguments = ["selftest", "--no-attestation", "--output", "json"];
    let run = emulated.run(&arguments);
    let report = run.json();
    let step = |name: &str| steps(&report).find(|step| step["step"] == name).unwrap();
    assert_eq!(run.status, Some(1), "{run:#?}");
    let keys = step("key_providers");
    assert_eq!(keys["error"]["code"], WITHOUT_KEYGUARD);
    assert!(keys["detail"].as_str().unwrap().contains("software"));
    assert_eq!(step("metadata")["result"], "ok");
    assert_eq!(step("key")["error"]["code"], WITHOUT_KEYGUARD);
    assert_eq!(step("csr")["result"], "skipped");
}

/// The key is in memory, or on Windows in CNG.
#[test]
fn accepts_software_key_of_platform_on_request() {
    let emulated = Emulated::start(&["--attestation", "optional"]);
    let key = ["--no-attestation", "--min-strength", "software"];
    let run = emulated.run(&[&["selftest", "--output", "json"][..], &key].concat());
    assert_eq!(run.status, Some(0), "{run:#?}");
    let report = run.json();
    for step in [
        "key_providers",
        "key",
        "csr",
        "credential",
        "token",
        "binding",
        "cache",
    ] {
        let report = steps(&report)
            .find(|report| report["step"] == step)
            .unwrap();
        assert_eq!(report["result"], "ok", "{run:#?}");
    }
}

#[test]
fn reports_whether_a_new_certificate_was_requested() {
    let emulated = Emulated::shared();
    for (flags, fresh) in [(&[][..], false), (&["--fresh"][..], true)] {
        let run = report(emulated, flags);
        assert_eq!(run.status, Some(0), "{run:#?}");
        assert_eq!(run.json()["request"]["fresh"], fresh, "{run:#?}");
    }
    let run = emulated.run(&["selftest", "--simulated", "--fresh"]);
    let request = run.stdout.lines().nth(1).unwrap();
    assert!(request.ends_with(", attested, new certificate"), "{run:#?}");
}

#[test]
fn fails_at_the_deadline() {
    let emulated = Emulated::in_this_process();
    emulated.fault("metadata=hang");
    let run = report(&emulated, &["--timeout", "1.5"]);
    let report = run.json();
    let metadata = steps(&report).find(|step| step["step"] == "metadata");
    let metadata = metadata.unwrap();
    assert_eq!(metadata["result"], "failed", "{run:#?}");
    assert_eq!(metadata["error"]["code"], "deadline_exceeded", "{run:#?}");
}

fn report(emulated: &Emulated, arguments: &[&str]) -> Run {
    let base = ["selftest", "--simulated", "--output", "json"];
    emulated.run(&[&base[..], arguments].concat())
}

fn secret_url(emulated: &Emulated) -> String {
    let vault = emulated.named("vault").trim_end_matches('/');
    format!("{vault}/secrets/demo-secret?api-version=7.4")
}

fn steps(report: &Value) -> impl Iterator<Item = &Value> {
    report["steps"].as_array().unwrap().iter()
}

/// The first letter of a result: `o`, `f` or `s`.
fn initial(result: &Value) -> &str {
    &result.as_str().unwrap()[..1]
}

/// The fault, the first letters of the results of all steps (probe, key_providers, attestation_library; metadata, key, csr,
/// attestation, credential; token, token_type, binding; cache, resource), and the error code of the failed one.
type Case = (&'static str, &'static str, &'static str);
const CASES: &[Case] = &[
    ("probe=status:404", "fosssssssssss", "imds_v2_unavailable"),
    ("probe=status:403", "fosoooooooooo", "refused"),
    ("metadata=no-server-header", "oosfsssssssss", "not_imds"),
    ("attest=status:400", "oosooofssssss", "attestation_failed"),
    ("issue=status:400", "oosoooofsssss", "refused"),
    (
        "issue=certificate:other-key",
        "oosoooofsssss",
        "certificate_key_mismatch",
    ),
    (
        "token=aadsts:392196",
        "oosooooofssss",
        "bound_tokens_not_accepted",
    ),
    (
        "token=token-type:Bearer",
        "oosoooooofsss",
        "token_type_mismatch",
    ),
    ("token=no-cnf", "oosooooooofss", "token_not_bound"),
    ("token=other-cnf", "oosooooooofss", "binding_mismatch"),
    (
        "vault=never-ask",
        "oosooooooooof",
        "client_certificate_not_requested",
    ),
];
