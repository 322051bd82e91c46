//! `emulator --source NAME --exec` runs a command in the environment of one source of managed identities.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use support::{Run, keybound, run};

fn in_source(source: &str, options: &[&str], command: &[&str]) -> Run {
    let arguments = [
        &["emulator", "--source", source],
        options,
        &["--exec", "--"],
    ]
    .concat();
    let mut emulator = keybound([&arguments[..], command].concat());
    // As on a host with another source.
    for name in VARIABLES {
        emulator.env(name, "http://127.0.0.1:1/inherited");
    }
    run(&mut emulator)
}

#[test]
fn command_has_the_variables_of_its_source_only() {
    for (source, expected) in [
        ("imds", ""),
        (
            "app-service",
            "IDENTITY_ENDPOINT IDENTITY_HEADER MSI_ENDPOINT MSI_SECRET",
        ),
        (
            "container-apps",
            "IDENTITY_ENDPOINT IDENTITY_HEADER MSI_ENDPOINT MSI_SECRET",
        ),
        (
            "service-fabric",
            "IDENTITY_ENDPOINT IDENTITY_HEADER IDENTITY_SERVER_THUMBPRINT",
        ),
        (
            "machine-learning",
            "DEFAULT_IDENTITY_CLIENT_ID MSI_ENDPOINT MSI_SECRET",
        ),
        ("cloud-shell", "MSI_ENDPOINT"),
    ] {
        let run = in_source(source, &[], &["env"]);
        assert_eq!(run.status, Some(0), "{run:#?}");
        assert!(!run.stdout.contains("inherited"), "{source} {run:#?}");
        let names: BTreeSet<_> = run
            .stdout
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .filter(|name| VARIABLES.contains(name))
            .collect();
        let expected = expected.split_whitespace().collect();
        assert_eq!(names, expected, "{source}");
        assert!(
            run.stdout
                .contains("AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:")
        );
    }
}

#[test]
fn rejects_source_without_command_and_unknown_source() {
    let run = run(&mut keybound(["emulator", "--source", "arc"]));
    assert_eq!(run.status, Some(2), "{run:#?}");
    assert!(run.stderr.contains("--exec"), "{run:#?}");
    let run = in_source("appservice", &[], &["true"]);
    assert_eq!(run.status, Some(2), "{run:#?}");
    assert!(
        run.stderr.contains("app-service, container-apps"),
        "{run:#?}"
    );
}

/// On the host nothing is written. If it allows no namespace, the emulator says so.
#[cfg(target_os = "linux")]
#[test]
fn command_finds_key_files_where_client_libraries_expect_them() {
    let is_allowed = allows_namespaces();
    let existed = Path::new("/var/opt/azcmagent").exists();
    let found = in_source("arc", &[], &["python3", "-c", TOKEN_OF_ARC]);
    assert_eq!(Path::new("/var/opt/azcmagent").exists(), existed);
    if !is_allowed {
        assert_eq!(found.status, Some(1), "{found:#?}");
        assert!(found.stderr.contains("--arc-tokens-dir"), "{found:#?}");
        return;
    }
    assert_eq!((found.status, &*found.stderr), (Some(0), ""), "{found:#?}");
    assert_eq!(found.stdout, "/var/opt/azcmagent/tokens Bearer\n");
    let missing = in_source("arc", &[], &["no-such-command"]);
    assert_eq!(missing.status, Some(127), "{missing:#?}");
}

#[test]
fn writes_key_files_to_a_named_directory() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let tokens = tokens.to_str().unwrap();
    let found = in_source(
        "arc",
        &["--arc-tokens-dir", tokens],
        &["python3", "-c", TOKEN_OF_ARC],
    );
    assert_eq!(found.stdout, format!("{tokens} Bearer\n"), "{found:#?}");
    assert_eq!(std::fs::read_dir(tokens).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
fn allows_namespaces() -> bool {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    let mount = ["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"];
    unshare.args(mount).status().unwrap().success()
}

/// Prints the directory of the key file and the type of the token.
const TOKEN_OF_ARC: &str = r#"
import json, os, urllib.error, urllib.request

def request(authorization):
    url = os.environ["IDENTITY_ENDPOINT"] + "?api-version=2020-06-01&resource=a"
    headers = {"Metadata": "true", **authorization}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers))

try:
    request({})
except urllib.error.HTTPError as challenge:
    path = challenge.headers["WWW-Authenticate"].removeprefix("Basic realm=")
with open(path) as key:
    token = json.load(request({"Authorization": "Basic " + key.read()}))
print(os.path.dirname(path), token["token_type"])
"#;

const VARIABLES: [&str; 7] = [
    "DEFAULT_IDENTITY_CLIENT_ID",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
];
