//! `get-token` for the app registration of the emulator: authorities, audiences and allow-lists.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use support::emulated::Emulated;
use support::{Run, keybound, run};

#[test]
fn options_of_the_authority_reach_the_exchange() {
    let emulated = Emulated::shared();
    let (sts, other) = (emulated.named("sts"), "https://login.example");
    let without_scheme = sts.trim_start_matches("https://").trim_end_matches('/');
    for (options, code, stage) in [
        (vec!["--authority", without_scheme], None, ""),
        (
            vec!["--authority", other, "--mtls-authority", sts],
            None,
            "",
        ),
        (
            vec![
                "--authority",
                sts,
                "--mtls-authority",
                "https://mtls.example",
            ],
            Some("simulated_not_allowed"),
            "request",
        ),
        (
            vec!["--authority", sts, "--exchange-audience", "api://other"],
            Some("assertion_rejected"),
            "exchange",
        ),
        // The allow-list is checked first, then whether the receiver of a simulated assertion is on loopback.
        (
            vec![
                "--region",
                "westus2",
                "--cloud",
                "public",
                "--allowed-host",
                "mtlsauth.microsoft.com",
            ],
            Some("endpoint_not_allowed"),
            "request",
        ),
        (
            vec![
                "--region",
                "westus2",
                "--cloud",
                "public",
                "--allowed-host",
                "westus2.mtlsauth.microsoft.com",
            ],
            Some("simulated_not_allowed"),
            "request",
        ),
    ] {
        let run = emulated.run(&[&OF_APP[..], &["--simulated"], &options].concat());
        assert_result(&run, code, stage);
    }
}

#[test]
fn a_file_is_exchanged_at_an_allowed_authority_only() {
    let emulated = Emulated::shared();
    let audience = ["--resource", "api://AzureADTokenExchange"];
    let assertion = emulated.run(
        &[
            &["get-token", "--bearer", "--output", "token"],
            &audience[..],
        ]
        .concat(),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, &assertion.stdout).unwrap();
    let file = ["--bearer", "--federated-token-file", file.to_str().unwrap()];
    let sts = emulated.named("sts").trim_end_matches('/');
    for (options, code, stage) in [
        (vec!["--authority", sts], None, ""),
        // Without a scheme it is on loopback too: the emulator's CA is trusted.
        (
            vec!["--authority", sts.trim_start_matches("https://")],
            None,
            "",
        ),
        (
            vec!["--authority", sts, "--allowed-host", "login.example"],
            Some("endpoint_not_allowed"),
            "request",
        ),
        (
            vec!["--allowed-host", "*.microsoftonline.us"],
            Some("endpoint_not_allowed"),
            "request",
        ),
    ] {
        let mut command = emulated.keybound(&[&OF_APP[..], &file, &options].concat());
        let run = run(command.env_remove("AZURE_POD_IDENTITY_AUTHORITY_HOST"));
        assert_result(&run, code, stage);
    }
}

#[test]
fn rejects_options_without_effect() {
    for options in [
        &["--cloud", "china"][..],
        &["--authority", "https://login.example"],
        &["--mtls-authority", "https://login.example"],
        &["--region", "westus2"],
        &["--exchange-audience", "api://x"],
        &["--region", "westus2", "--bearer", "--workload-identity"],
        &[
            "--mtls-authority",
            "https://a.example",
            "--bearer",
            "--workload-identity",
        ],
        &[
            "--exchange-audience",
            "api://x",
            "--bearer",
            "--workload-identity",
        ],
        &[
            "--exchange-audience",
            "two words",
            "--app-id",
            APP,
            "--tenant",
            TENANT,
        ],
        &[
            "--authority",
            "https://entra.example",
            "--app-id",
            APP,
            "--tenant",
            TENANT,
        ],
        &["--region", "West US", "--app-id", APP, "--tenant", TENANT],
        &[
            "--authority",
            "https://login.example/common",
            "--app-id",
            APP,
            "--tenant",
            TENANT,
        ],
    ] {
        let run = run(keybound(["get-token"]).args(options));
        assert_eq!(run.status, Some(2), "{options:?}: {run:#?}");
        let name = options[0].trim_start_matches('-');
        assert!(run.stderr.contains(name), "{options:?}: {run:#?}");
    }
}

fn assert_result(run: &Run, code: Option<&str>, stage: &str) {
    assert_eq!(run.status, Some(i32::from(code.is_some())), "{run:#?}");
    let result = run.json();
    match code {
        Some(code) => {
            assert_eq!(result["error"]["code"], code, "{run:#?}");
            assert_eq!(result["error"]["stage"], stage, "{run:#?}");
        }
        None => assert_eq!(result["source"], "identity_provider", "{run:#?}"),
    }
}

const APP: &str = "5a5a5a5a-0000-4000-8000-0000000000d1";
const TENANT: &str = "5a5a5a5a-0000-4000-8000-00000000000b";
const OF_APP: [&str; 7] = [
    "get-token",
    "--output",
    "json",
    "--app-id",
    APP,
    "--tenant",
    TENANT,
];
