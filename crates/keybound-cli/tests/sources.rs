//! Plain bearer tokens of the managed identity source of the host.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use keybound_testing::Authority;
use std::io::Write as _;
use std::process::Command;
use support::source::Source;
use support::{keybound, run, shows_a_jwt};
use tempfile::NamedTempFile;

const TOKEN: &str = "opaque-token-of-the-source-0123456789";

/// The program on a host with this kind of source.
fn on_host(kind: &str, source: &Source, arguments: &[&str]) -> Command {
    let mut command = keybound(arguments);
    let url = format!("{}/msi/token", source.url);
    match kind {
        "imds" => command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &source.url),
        "app_service" => command
            .env("IDENTITY_ENDPOINT", url)
            .env("IDENTITY_HEADER", "swordfish"),
        "machine_learning" => command
            .env("MSI_ENDPOINT", url)
            .env("MSI_SECRET", "swordfish"),
        "cloud_shell" => command.env("MSI_ENDPOINT", url),
        "azure_arc" => command
            .env("IDENTITY_ENDPOINT", url)
            .env("IMDS_ENDPOINT", &source.url),
        other => panic!("{other}"),
    };
    command
}

#[test]
fn bearer_token_names_the_source_that_issued_it() {
    let resource = "https://management.azure.com";
    for (kind, name, request) in [
        (
            "imds",
            "IMDS",
            "GET /metadata/identity/oauth2/token?api-version=2018-02-01&",
        ),
        (
            "app_service",
            "App Service",
            "GET /msi/token?api-version=2019-08-01&",
        ),
        (
            "machine_learning",
            "Machine Learning",
            "GET /msi/token?api-version=2017-09-01&",
        ),
        ("cloud_shell", "Cloud Shell", "POST /msi/token HTTP/1.1"),
        (
            "azure_arc",
            "Azure Arc",
            "GET /msi/token?api-version=2020-06-01&",
        ),
    ] {
        let source = Source::issuing(TOKEN);
        let arguments = ["get-token", "--bearer", "--resource", resource];
        let json = run(on_host(kind, &source, &arguments).args(["--output", "json"]));
        assert_eq!(json.status, Some(0), "{json:#?}");
        let result = json.json();
        assert_eq!(result["managed_identity_source"], kind);
        assert_eq!(result["token_type"], "Bearer");
        assert_eq!(result["resource"], resource);
        assert_eq!(result["binding"], serde_json::Value::Null);
        let text = run(&mut on_host(kind, &source, &arguments));
        assert!(
            text.stdout.contains(&format!("identity source {name}\n")),
            "{text:#?}"
        );
        assert!(text.stdout.contains("not bound"), "{text:#?}");
        for run in [json, text] {
            assert!(!run.printed().contains(TOKEN), "{run:#?}");
            assert_eq!(run.stderr, "");
        }
        let bare = run(on_host(kind, &source, &arguments).args(["--output", "token"]));
        assert_eq!(bare.stdout, format!("{TOKEN}\n"), "{bare:#?}");
        for sent in source.requests() {
            assert!(sent.starts_with(request), "{sent}");
        }
    }
}

#[test]
fn bearer_token_of_each_source_of_the_emulator() {
    for (source, name) in [
        ("imds", "imds"),
        ("app-service", "app_service"),
        ("container-apps", "app_service"),
        ("service-fabric", "service_fabric"),
        ("machine-learning", "machine_learning"),
        ("cloud-shell", "cloud_shell"),
    ] {
        let arguments = ["emulator", "--source", source, "--exec", "--", "keybound"];
        let mut command = keybound(arguments);
        command.args(["get-token", "--bearer", "--output", "json"]);
        let run = run(command.args(["--resource", "https://management.azure.com"]));
        assert_eq!(run.status, Some(0), "{source}: {run:#?}");
        let token = run.json();
        assert_eq!(token["managed_identity_source"], name, "{source}");
        assert_eq!(token["resource"], "https://management.azure.com");
        assert!(!shows_a_jwt(&run.printed()), "{run:#?}");
    }
}

#[test]
fn server_of_service_fabric_is_pinned() {
    let (source, thumbprint) = Source::issuing_over_tls(TOKEN);
    let on_fabric = |thumbprint: &str| {
        let mut command = keybound(["get-token", "--bearer", "--output", "json"]);
        command
            .env("IDENTITY_ENDPOINT", format!("{}/token", source.url))
            .env("IDENTITY_HEADER", "swordfish")
            .env("IDENTITY_SERVER_THUMBPRINT", thumbprint);
        run(&mut command)
    };
    let other = on_fabric("A9993E364706816ABA3E25717850C26C9CD0D89D");
    let error = &other.json()["error"];
    assert_eq!(error["code"], "server_certificate_invalid", "{other:#?}");
    assert_eq!(error["stage"], "source");
    assert!(source.requests().is_empty());
    let run = on_fabric(&thumbprint);
    assert_eq!(
        run.json()["managed_identity_source"],
        "service_fabric",
        "{run:#?}"
    );
    let sent = &source.requests()[0];
    assert!(
        sent.starts_with("GET /token?api-version=2020-05-01&resource="),
        "{sent}"
    );
    assert!(
        sent.to_ascii_lowercase()
            .contains("\r\nsecret: swordfish\r\n"),
        "{sent}"
    );
}

#[test]
fn source_is_chosen_by_option() {
    let (own, other) = (Source::issuing(TOKEN), Source::issuing(TOKEN));
    let arguments = [
        "get-token",
        "--bearer",
        "--source",
        "imds",
        "--output",
        "json",
    ];
    let run = run(on_host("app_service", &other, &arguments).args(["--imds", &own.url]));
    assert_eq!(run.json()["managed_identity_source"], "imds", "{run:#?}");
    assert_eq!((own.requests().len(), other.requests().len()), (1, 0));
}

#[test]
fn address_of_imds_chooses_imds_by_option_but_not_by_variable() {
    let (imds, other) = (Source::issuing(TOKEN), Source::issuing(TOKEN));
    for (kind, option, chosen) in [
        ("app_service", true, "imds"),
        ("cloud_shell", true, "imds"),
        ("azure_arc", true, "imds"),
        ("app_service", false, "app_service"),
    ] {
        let arguments = ["get-token", "--bearer", "--output", "json"];
        let mut command = on_host(kind, &other, &arguments);
        match option {
            true => command.args(["--imds", &imds.url]),
            false => command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", &imds.url),
        };
        let run = run(&mut command);
        assert_eq!(run.json()["managed_identity_source"], chosen, "{run:#?}");
    }
    assert_eq!((imds.requests().len(), other.requests().len()), (3, 1));
}

#[test]
fn no_v1_fallback_on_another_source() {
    let source = Source::issuing(TOKEN);
    for options in [
        &[][..],
        &["--bearer-over-mtls"],
        &["--source", "app-service"],
    ] {
        let arguments = ["get-token", "--output", "json"];
        let run = run(on_host("app_service", &source, &arguments).args(options));
        assert_eq!(run.status, Some(1), "{run:#?}");
        assert_eq!(
            run.json()["error"]["code"],
            "source_unsupported",
            "{run:#?}"
        );
        assert_eq!(run.json()["error"]["stage"], "request");
    }
    assert!(source.requests().is_empty());
}

#[cfg(unix)]
#[test]
fn sources_are_never_reached_through_a_proxy() {
    let proxy = Source::start(502, "proxy");
    let (authority, ca_file) = authority();
    let plain = Source::issuing(TOKEN).at_any_address();
    let tls = Source::issuing_with(&authority.server("0.0.0.0"), TOKEN).at_any_address();
    for (kind, source) in [
        ("imds", &plain),
        ("app_service", &plain),
        ("app_service", &tls),
    ] {
        let mut command = on_host(kind, source, &["get-token", "--bearer", "--ca-file"]);
        command.arg(ca_file.path());
        for name in [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
        ] {
            command.env(name, &proxy.url);
        }
        let run = run(&mut command);
        assert_eq!(run.status, Some(0), "{run:#?}");
    }
    assert!(proxy.requests().is_empty());
    assert_eq!((plain.requests().len(), tls.requests().len()), (2, 1));
}

#[test]
fn source_at_an_https_address_is_verified() {
    let (authority, ca_file) = authority();
    let source = Source::issuing_with(&authority.server("127.0.0.1"), TOKEN);
    let other_name = Source::issuing_with(&authority.server("127.0.0.2"), TOKEN);
    for kind in ["app_service", "machine_learning", "cloud_shell"] {
        let arguments = ["get-token", "--bearer", "--output", "json"];
        let untrusted = run(&mut on_host(kind, &source, &arguments));
        let misnamed = run(on_host(kind, &other_name, &arguments)
            .arg("--ca-file")
            .arg(ca_file.path()));
        for refused in [untrusted, misnamed] {
            let error = &refused.json()["error"];
            assert_eq!(error["code"], "server_certificate_invalid", "{refused:#?}");
            assert_eq!(error["stage"], "source");
        }
        let trusted = run(on_host(kind, &source, &arguments)
            .arg("--ca-file")
            .arg(ca_file.path()));
        let found = trusted.json();
        assert_eq!(found["managed_identity_source"], kind, "{trusted:#?}");
    }
    assert_eq!(
        (source.requests().len(), other_name.requests().len()),
        (3, 0)
    );
}

/// An authority, and the file of its certificate.
fn authority() -> (Authority, NamedTempFile) {
    let authority = Authority::new("authority of a source");
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&authority.pem()).unwrap();
    (authority, file)
}

#[test]
fn error_of_the_source_is_reported_with_its_words() {
    let body = r#"{"statusCode":400,"message":"No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."}"#;
    let source = Source::start(400, body);
    let id = "11111111-2222-3333-4444-555555555555";
    let arguments = [
        "get-token",
        "--bearer",
        "--client-id",
        id,
        "--output",
        "json",
    ];
    let run = run(&mut on_host("app_service", &source, &arguments));
    let error = &run.json()["error"];
    assert_eq!(
        (&error["code"], &error["stage"]),
        (&"identity_not_found".into(), &"source".into())
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("No User Assigned"), "{message}");
    let sent = &source.requests()[0];
    assert!(sent.contains(&format!("&client_id={id} ")), "{sent}");
    assert!(
        sent.to_ascii_lowercase()
            .contains("x-identity-header: swordfish"),
        "{sent}"
    );
    assert!(!run.printed().contains("swordfish"), "{run:#?}");
}

#[test]
fn bearer_rejects_options_without_effect_on_it() {
    for options in [
        &["--bearer-over-mtls"][..],
        &["--min-strength", "software"],
        &["--no-attestation"],
        &["--simulated"],
        &["--claims", "{}"],
        &["--allowed-host", "login.example"],
        &["--attestation-library", "/x.dll"],
        &["--attestation-null-arguments"],
        &["--source", "app-service", "--imds", "http://127.0.0.1:1"],
        &["--ca-file", "/missing.pem"],
    ] {
        let run = run(keybound(["get-token", "--bearer"]).args(options));
        assert_eq!(run.status, Some(2), "{options:?}: {run:#?}");
        assert!(run.stderr.contains(options[0]), "{options:?}: {run:#?}");
    }
    for options in [
        &["--simulated", "--source", "imds"][..],
        &["--simulated", "--attestation-null-arguments"],
        &["--no-attestation", "--attestation-null-arguments"],
        &["--no-attestation", "--attestation-library", "/x.dll"],
        &["--source", "cloud-shell", "--imds", "http://127.0.0.1:1"],
    ] {
        let run = run(keybound(["get-token"]).args(options));
        assert_eq!(run.status, Some(2), "{options:?}: {run:#?}");
    }
}

#[test]
fn malformed_variable_is_named_without_its_value() {
    let mut command = keybound(["get-token", "--bearer", "--output", "json"]);
    command
        .env("IDENTITY_ENDPOINT", "swordfish")
        .env("IDENTITY_HEADER", "swordfish");
    let run = run(&mut command);
    let error = &run.json()["error"];
    assert_eq!(error["code"], "invalid_request", "{run:#?}");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("IDENTITY_ENDPOINT")
    );
    assert!(!run.printed().contains("swordfish"), "{run:#?}");
}
