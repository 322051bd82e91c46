//! `get-token` with the emulator: results, identities, keys, secrets.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use support::emulated::Emulated;
use support::{WITHOUT_KEYGUARD, run, shows_a_jwt};

#[test]
fn json_has_documented_members_only() {
    let emulated = Emulated::shared();
    let run = emulated.run(&["get-token", "--simulated", "--output", "json"]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    let result = run.json();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    let members = [
        "access_token",
        "token_type",
        "expires_in",
        "expires_on",
        "resource",
        "source",
        "from_cache",
        "managed_identity_source",
        "binding",
        "timings_ms",
    ];
    assert_eq!(keys(&result), set(&members));
    let members = [
        "x5t#S256",
        "thumbprint_sha1",
        "thumbprint_sha256",
        "subject",
        "issuer",
        "not_before",
        "not_after",
        "token_not_after",
        "key_strength",
        "attested",
        "attestation",
        "certificate_pem",
    ];
    assert_eq!(keys(&result["binding"]), set(&members));
    let steps = [
        "metadata",
        "key",
        "csr",
        "attestation",
        "credential",
        "token",
        "binding_check",
        "total",
    ];
    assert_eq!(keys(&result["timings_ms"]), set(&steps));

    assert_eq!(result["token_type"], "mtls_pop");
    assert_eq!(result["resource"], "https://graph.microsoft.com");
    assert_eq!(result["source"], "identity_provider");
    assert_eq!(result["from_cache"], false);
    let life = result["expires_in"].as_u64().unwrap();
    assert!((86_000..=86_400).contains(&life), "{life}");
    let binding = &result["binding"];
    assert_eq!(binding["x5t#S256"].as_str().unwrap().len(), 43);
    assert_eq!(binding["thumbprint_sha1"].as_str().unwrap().len(), 40);
    assert_eq!(binding["thumbprint_sha256"].as_str().unwrap().len(), 64);
    assert!(binding["subject"].as_str().unwrap().starts_with("CN="));
    assert!(binding["not_after"].as_str().unwrap().ends_with('Z'));
    assert!(
        binding["certificate_pem"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----\n")
    );
    let token = result["access_token"].as_str().unwrap();
    assert_eq!(token.chars().count(), 16, "{token}");
    assert!(!shows_a_jwt(&run.printed()));
}

#[test]
fn simulated_key_is_never_reported_as_attested() {
    let emulated = Emulated::shared();
    let result = emulated
        .run(&["get-token", "--simulated", "--output", "json"])
        .json();
    assert_eq!(result["binding"]["attested"], false);
    assert_eq!(result["binding"]["attestation"], "simulated");
    assert_eq!(result["binding"]["key_strength"], "simulated");
    let text = emulated.run(&["get-token", "--simulated"]).stdout;
    assert!(text.contains("no (simulated)"), "{text}");
    assert!(!text.contains("keyguard"), "{text}");
}

#[test]
fn text_shows_token_binding_and_check() {
    let emulated = Emulated::shared();
    let run = emulated.run(&[
        "get-token",
        "--simulated",
        "--resource",
        "https://vault.azure.net/",
    ]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    for expected in [
        "token type      mtls_pop\n",
        "resource        https://vault.azure.net\n",
        "binding check: cnf.x5t#S256 == SHA-256(certificate): MATCH\n",
    ] {
        assert!(
            run.stdout.contains(expected),
            "{expected:?} in {}",
            run.stdout
        );
    }
    assert!(!shows_a_jwt(&run.printed()));
}

#[test]
fn the_full_token_is_printed_only_on_request() {
    let emulated = Emulated::shared();
    let bare = emulated.run(&["get-token", "--simulated", "--output", "token"]);
    assert_eq!(bare.stdout.lines().count(), 1);
    assert!(shows_a_jwt(&bare.stdout) && bare.stdout.ends_with('\n'));
    assert!(!shows_a_jwt(&bare.stderr));
    let full = emulated.run(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--show-full-token",
    ]);
    assert!(shows_a_jwt(full.json()["access_token"].as_str().unwrap()));
    let text = emulated.run(&["get-token", "--simulated", "--show-full-token"]);
    assert!(shows_a_jwt(&text.stdout));
}

#[test]
fn verbose_output_holds_no_secrets() {
    let emulated = Emulated::shared();
    for output in ["text", "json"] {
        let mut command =
            emulated.keybound(&["get-token", "--simulated", "-vv", "--output", output]);
        let run = run(command.env("KEYBOUND_LOG", "trace"));
        assert_eq!(run.status, Some(0), "{run:#?}");
        assert!(!shows_a_jwt(&run.printed()), "{run:#?}");
        assert!(!run.printed().contains("mtls_pop ey"), "{run:#?}");
    }
    let bearer = [
        "get-token",
        "--simulated",
        "--bearer-over-mtls",
        "-vv",
        "--resource",
        "https://management.azure.com",
    ];
    let run = emulated.run(&bearer);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert!(!shows_a_jwt(&run.printed()), "{run:#?}");
}

#[test]
fn verbose_logs_every_step_once_with_the_correlation_id_and_the_claims() {
    let emulated = Emulated::shared();
    let run = emulated.run(&["get-token", "--simulated", "-v"]);
    for step in 0..=6 {
        let count = run
            .stderr
            .lines()
            .filter(|line| line.contains(&format!(" step {step} ")))
            .count();
        assert_eq!(count, 1, "step {step}: {}", run.stderr);
    }
    assert_eq!(
        run.stderr.matches("correlation id").count(),
        1,
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("token claims (not verified here): {"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("\"x5t#S256\""), "{}", run.stderr);
    // With the spaces: a thumbprint may contain the letters.
    assert!(!run.stdout.contains(" step "), "{}", run.stdout);
}

#[test]
fn bearer_token_needs_explicit_request_and_is_not_bound() {
    let emulated = Emulated::shared();
    let azure = "https://management.azure.com";
    let run = emulated.run(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--resource",
        azure,
    ]);
    assert_eq!(run.json()["error"]["code"], "bound_tokens_not_accepted");
    let run = emulated.run(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--resource",
        azure,
        "--bearer-over-mtls",
    ]);
    let result = run.json();
    assert_eq!(result["token_type"], "Bearer", "{run:#?}");
    assert_eq!(result["binding"], Value::Null);
    assert!(!shows_a_jwt(&run.printed()));
    let text = emulated
        .run(&[
            "get-token",
            "--simulated",
            "--resource",
            azure,
            "--bearer-over-mtls",
        ])
        .stdout;
    assert!(text.contains("not bound"), "{text}");
}

#[test]
fn selects_identity_by_client_object_or_resource_id() {
    let emulated = Emulated::shared();
    let subject = |arguments: &[&str]| {
        let mut all = vec!["get-token", "--simulated", "--output", "json"];
        all.extend(arguments);
        let run = emulated.run(&all);
        assert_eq!(run.status, Some(0), "{run:#?}");
        run.json()["binding"]["subject"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let system = subject(&[]);
    let named = subject(&["--client-id", "5a5a5a5a-0000-4000-8000-000000000002"]);
    assert_ne!(system, named);
    assert_eq!(
        subject(&["--object-id", "5a5a5a5a-0000-4000-8000-0000000000f2"]),
        named
    );
    let resource_id = "/subscriptions/5a5a5a5a-0000-4000-8000-0000000000aa/resourceGroups/keybound/providers/\
                       Microsoft.ManagedIdentity/userAssignedIdentities/demo";
    assert_eq!(subject(&["--resource-id", resource_id]), named);
}

#[test]
fn rejects_key_below_minimum_strength() {
    let emulated = Emulated::start(&["--attestation", "optional"]);
    let weak = emulated.run(&["get-token", "--no-attestation", "--output", "json"]);
    assert_eq!(weak.status, Some(1));
    assert_eq!(weak.json()["error"]["code"], WITHOUT_KEYGUARD, "{weak:#?}");
    let allowed = [
        "get-token",
        "--no-attestation",
        "--min-strength",
        "software",
        "--output",
        "json",
    ];
    let result = emulated.run(&allowed).json();
    assert_eq!(result["binding"]["key_strength"], "software", "{result}");
    assert_eq!(result["binding"]["attestation"], "none");
}

#[test]
fn attestation_is_required_by_default() {
    let emulated = Emulated::start(&["--attestation", "optional"]);
    let run = emulated.run(&[
        "get-token",
        "--min-strength",
        "software",
        "--output",
        "json",
    ]);
    let error = run.json()["error"].clone();
    assert_eq!(error["code"], "attestation_unavailable", "{run:#?}");
    assert_eq!(error["stage"], "attestation");
}

#[test]
fn warns_once_about_ca_variable_and_not_about_ca_option() {
    let emulated = Emulated::shared();
    let by_variable = emulated.run(&["get-token", "--simulated", "--output", "json"]);
    assert_eq!(
        by_variable
            .stderr
            .matches("warning: KEYBOUND_CA_FILE")
            .count(),
        1,
        "{by_variable:#?}"
    );
    let mut command = emulated.keybound(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--ca-file",
        emulated.named("ca_file"),
    ]);
    let by_flag = run(command.env_remove("KEYBOUND_CA_FILE"));
    assert_eq!(by_flag.status, Some(0), "{by_flag:#?}");
    assert_eq!(by_flag.stderr, "");
    let mut command = emulated.keybound(&[
        "get-token",
        "--min-strength",
        "software",
        "--no-attestation",
        "--output",
        "json",
    ]);
    let untrusted = run(command.env_remove("KEYBOUND_CA_FILE"));
    assert_eq!(untrusted.status, Some(1), "{untrusted:#?}");
}

#[test]
fn imds_option_overrides_environment() {
    let emulated = Emulated::shared();
    let imds = emulated.named("imds").to_owned();
    let mut command = emulated.keybound(&["get-token", "--simulated", "--imds", &imds]);
    let run = run(command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9"));
    assert_eq!(run.status, Some(0), "{run:#?}");
}

#[test]
fn sets_tls_versions_for_a_host() {
    let emulated = Emulated::in_this_process();
    let url = format!("{}/v1.0/applications", emulated.named("graph"));
    let host = url.split(['/', ':']).nth(3).unwrap();
    for (versions, negotiated) in [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")] {
        let choice = format!("{host}={versions}");
        let run = emulated.run(&["call", "--simulated", "--tls", &choice, &url]);
        assert_eq!(run.status, Some(0), "{run:#?}");
        let records = emulated.records();
        let last = records.iter().rfind(|record| record.leg == "graph");
        assert_eq!(last.unwrap().tls_version, Some(negotiated));
    }
}

#[test]
fn rejects_endpoints_that_are_not_on_the_allow_list() {
    let emulated = Emulated::shared();
    let run = emulated.run(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--allowed-host",
        "login.example.com",
    ]);
    assert_eq!(
        run.json()["error"]["code"],
        "endpoint_not_allowed",
        "{run:#?}"
    );
}
