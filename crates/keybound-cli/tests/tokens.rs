//! `get-token` with the emulator: results, identities, keys, secrets.
#![allow(clippy::unwrap_used, reason = "a test ends where its footing is gone")]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use support::emulated::Emulated;
use support::{WITHOUT_KEYGUARD, run, shows_a_jwt};

#[test]
fn json_holds_what_is_promised_and_no_more() {
    let world = Emulated::shared();
    let run = world.run(&["get-token", "--simulated", "--output", "json"]);
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
    assert!(!shows_a_jwt(&run.seen()));
}

#[test]
fn simulated_is_never_called_attested() {
    let world = Emulated::shared();
    let result = world
        .run(&["get-token", "--simulated", "--output", "json"])
        .json();
    assert_eq!(result["binding"]["attested"], false);
    assert_eq!(result["binding"]["attestation"], "simulated");
    assert_eq!(result["binding"]["key_strength"], "simulated");
    let text = world.run(&["get-token", "--simulated"]).stdout;
    assert!(text.contains("no (simulated)"), "{text}");
    assert!(!text.contains("keyguard"), "{text}");
}

#[test]
fn text_names_token_binding_and_check() {
    let world = Emulated::shared();
    let run = world.run(&[
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
    assert!(!shows_a_jwt(&run.seen()));
}

#[test]
fn the_full_token_is_printed_only_on_request() {
    let world = Emulated::shared();
    let bare = world.run(&["get-token", "--simulated", "--output", "token"]);
    assert_eq!(bare.stdout.lines().count(), 1);
    assert!(shows_a_jwt(&bare.stdout) && bare.stdout.ends_with('\n'));
    assert!(!shows_a_jwt(&bare.stderr));
    let full = world.run(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--show-full-token",
    ]);
    assert!(shows_a_jwt(full.json()["access_token"].as_str().unwrap()));
    let text = world.run(&["get-token", "--simulated", "--show-full-token"]);
    assert!(shows_a_jwt(&text.stdout));
}

#[test]
fn verbose_output_holds_no_secrets() {
    let world = Emulated::shared();
    for output in ["text", "json"] {
        let mut command = world.keybound(&["get-token", "--simulated", "-vv", "--output", output]);
        let run = run(command.env("KEYBOUND_LOG", "trace"));
        assert_eq!(run.status, Some(0), "{run:#?}");
        assert!(!shows_a_jwt(&run.seen()), "{run:#?}");
        assert!(!run.seen().contains("mtls_pop ey"), "{run:#?}");
    }
    let bearer = [
        "get-token",
        "--simulated",
        "--bearer",
        "-vv",
        "--resource",
        "https://management.azure.com",
    ];
    let run = world.run(&bearer);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert!(!shows_a_jwt(&run.seen()), "{run:#?}");
}

#[test]
fn verbose_logs_every_step_once_with_the_correlation_id_and_the_claims() {
    let world = Emulated::shared();
    let run = world.run(&["get-token", "--simulated", "-v"]);
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
    // With the spaces: a thumbprint may well hold the letters.
    assert!(!run.stdout.contains(" step "), "{}", run.stdout);
}

#[test]
fn a_bearer_token_is_requested_explicitly_and_is_not_bound() {
    let world = Emulated::shared();
    let azure = "https://management.azure.com";
    let run = world.run(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--resource",
        azure,
    ]);
    assert_eq!(
        run.json()["error"]["code"],
        "resource_takes_no_bound_tokens"
    );
    let run = world.run(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--resource",
        azure,
        "--bearer",
    ]);
    let result = run.json();
    assert_eq!(result["token_type"], "Bearer", "{run:#?}");
    assert_eq!(result["binding"], Value::Null);
    assert!(!shows_a_jwt(&run.seen()));
    let text = world
        .run(&["get-token", "--simulated", "--resource", azure, "--bearer"])
        .stdout;
    assert!(text.contains("not bound"), "{text}");
}

#[test]
fn identities_are_named_by_client_object_and_resource_id() {
    let world = Emulated::shared();
    let subject = |arguments: &[&str]| {
        let mut all = vec!["get-token", "--simulated", "--output", "json"];
        all.extend(arguments);
        let run = world.run(&all);
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
fn a_key_below_the_minimum_strength_is_not_used() {
    let world = Emulated::start(&["--attestation", "optional"]);
    let weak = world.run(&["get-token", "--no-attestation", "--output", "json"]);
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
    let result = world.run(&allowed).json();
    assert_eq!(result["binding"]["key_strength"], "software", "{result}");
    assert_eq!(result["binding"]["attestation"], "none");
}

#[test]
fn the_key_is_attested_on_request() {
    let world = Emulated::start(&["--attestation", "optional"]);
    let run = world.run(&[
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
fn the_ca_variable_is_warned_of_once_and_a_named_file_is_not() {
    let world = Emulated::shared();
    let by_variable = world.run(&["get-token", "--simulated", "--output", "json"]);
    assert_eq!(
        by_variable
            .stderr
            .matches("warning: KEYBOUND_CA_FILE")
            .count(),
        1,
        "{by_variable:#?}"
    );
    let mut command = world.keybound(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--ca-file",
        world.named("ca_file"),
    ]);
    let by_flag = run(command.env_remove("KEYBOUND_CA_FILE"));
    assert_eq!(by_flag.status, Some(0), "{by_flag:#?}");
    assert_eq!(by_flag.stderr, "");
    let mut command = world.keybound(&[
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
fn imds_is_named_by_flag_over_the_environment() {
    let world = Emulated::shared();
    let imds = world.named("imds").to_owned();
    let mut command = world.keybound(&["get-token", "--simulated", "--imds", &imds]);
    let run = run(command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9"));
    assert_eq!(run.status, Some(0), "{run:#?}");
}

#[test]
fn tls_versions_can_be_set_for_a_host() {
    let world = Emulated::shared();
    let call = |versions: &str| {
        let url = format!("{}/v1.0/applications", world.named("graph"));
        let host = url.split(['/', ':']).nth(3).unwrap().to_owned();
        let versions = format!("{host}={versions}");
        world.run(&[
            "call",
            "--simulated",
            "--tls",
            &versions,
            "--output",
            "json",
            &url,
        ])
    };
    assert_eq!(call("1.3").status, Some(0));
    assert_eq!(call("1.2").status, Some(0));
}

#[test]
fn endpoints_off_the_allow_list_are_refused() {
    let world = Emulated::shared();
    let run = world.run(&[
        "get-token",
        "--simulated",
        "--output",
        "json",
        "--allowed-host",
        "login.example.com",
    ]);
    assert_eq!(run.json()["error"]["code"], "endpoint_refused", "{run:#?}");
}
