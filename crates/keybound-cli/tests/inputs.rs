//! Arguments and environment variables that are hostile, secret, not UTF-8, or irrelevant.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use support::emulated::Emulated;
use support::{keybound, run};

#[test]
fn usage_errors_have_no_control_characters() {
    let hostile = "\u{1b}[2J\r\nerror: forged\u{9b}31m\u{202e}\u{7}\u{7f}";
    let options = [
        ("get-token", "--client-id"),
        ("get-token", "--object-id"),
        ("get-token", "--resource-id"),
        ("get-token", "--resource"),
        ("get-token", "--scope"),
        ("get-token", "--min-strength"),
        ("get-token", "--attestation-library-sha256"),
        ("get-token", "--claims"),
        ("get-token", "--imds"),
        ("get-token", "--ca-file"),
        ("get-token", "--tls"),
        ("get-token", "--tls-engine"),
        ("get-token", "--allowed-host"),
        ("get-token", "--timeout"),
        ("get-token", "--output"),
        ("call", "--request"),
        ("call", "--header"),
        ("selftest", "--call"),
        ("emulator", "--config"),
        ("emulator", "--fault"),
        ("emulator", "--attestation"),
        ("emulator", "--imds-port"),
        ("emulator", "--state-dir=/dev/null/x --config"),
    ];
    let mut cases: Vec<Vec<String>> = Vec::new();
    for (command, options) in options {
        let mut words: Vec<_> = options.split(' ').map(str::to_owned).collect();
        words.insert(0, command.to_owned());
        words.push(hostile.to_owned());
        cases.push(words);
    }
    let file = format!("@/{hostile}");
    for words in [
        &[hostile][..],
        &["get-token", hostile],
        &["get-token", &format!("--{hostile}")],
        &["get-token", &format!("--bearer={hostile}")],
        &["call", hostile],
        &["call", "https://localhost/", hostile],
        &["call", "--data", &file],
        &["completions", hostile],
        &["attestation", hostile],
    ] {
        cases.push(words.iter().map(ToString::to_string).collect());
    }
    for words in cases {
        let run = run(&mut keybound(&words));
        assert_eq!(run.status, Some(2), "{words:?}: {run:#?}");
        let harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(run.printed().chars().all(harmless), "{words:?}: {run:#?}");
        let forged = |line: &str| line.starts_with("error: forged");
        assert!(!run.stderr.lines().any(forged), "{words:?}: {run:#?}");
        assert!(run.stderr.starts_with("error: "), "{words:?}: {run:#?}");
    }
}

#[test]
fn usage_errors_do_not_repeat_secrets() {
    let secret = "swordfish";
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
    for words in [
        &["get-token", "--claims", r#"{"a":"swordfish"#][..],
        &["get-token", "--claims", r#"["swordfish"]"#],
        &["get-token", "--claims", "swordfish"],
        &["get-token", "--claims=swordfish"],
        &["get-token", "--imds", "http://user:swordfish@localhost:1"],
        &["get-token", "--allowed-host", "https://user:swordfish@host"],
        &["get-token", "--tls", "https://user:swordfish@host=1.2"],
        &["get-token", "--resource", "https://user:swordfish@host x"],
        &["get-token", "--scope", "https://user:swordfish@host x"],
        &["get-token", "--resource-id", "swordfish"],
        &["get-token", "--bearer=swordfish"],
        &["get-token", "swordfish"],
        &["get-token", "--password=swordfish"],
        &["get-token", "--output", jwt],
        &[jwt],
        &["call", "--header", "Authorization: Bearer swordfish"],
        &["call", "--header", "X-Key swordfish"],
        &["call", "--header", "Authorization:", "Bearer", "swordfish"],
        &["call", "--data", r#"{"a":"#, r#""swordfish"}"#, "x"],
        &["call", "-X", "GET swordfish"],
        &["call", "https://user:swordfish@host/"],
        &["call", "http://host/?sig=swordfish"],
        &["selftest", "--call", "http://host/?sig=swordfish"],
    ] {
        let run = run(&mut keybound(words));
        assert_eq!(run.status, Some(2), "{words:?}: {run:#?}");
        assert!(!run.printed().contains(secret), "{words:?}: {run:#?}");
        assert!(!run.printed().contains(jwt), "{words:?}: {run:#?}");
    }
}

#[test]
fn reports_malformed_imds_address() {
    for imds in ["127.0.0.1:1", "localhost:1", "://", "https://127.0.0.1:1"] {
        for key in ["--simulated", "--no-attestation"] {
            let run = run(&mut keybound(["get-token", key, "--imds", imds]));
            assert_eq!(run.status, Some(2), "{imds}: {run:#?}");
            assert!(run.stderr.contains("a plain http URL"), "{imds}: {run:#?}");
        }
    }
}

#[test]
fn ignores_malformed_variables_that_are_not_needed() {
    let emulated = Emulated::shared();
    let graph = format!("{}/v1.0/applications", emulated.named("graph"));
    for (words, quiet) in [
        (&["get-token", "--simulated", "--output", "json"][..], false),
        (&["call", "--simulated", "--output", "json", &graph], false),
        (
            &[
                "selftest",
                "--simulated",
                "--output",
                "json",
                "--call",
                &graph,
            ],
            false,
        ),
        (&["attestation", "probe", "--json"], true),
        (&["completions", "bash"], true),
        (&["man"], true),
        (&["emulator", "--exec", "--", "keybound", "--version"], true),
    ] {
        let mut command = emulated.keybound(words);
        command.envs(MALFORMED);
        if quiet {
            // They are settings of connections, and these commands open none.
            command.env("KEYBOUND_CA_FILE", "/none");
            command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "::");
        }
        let run = run(&mut command);
        // The library does not exist here.
        let expected = i32::from(words[0] == "attestation");
        assert_eq!(run.status, Some(expected), "{words:?}: {run:#?}");
    }
    for (name, _) in MALFORMED {
        let mut command = emulated.keybound(&["get-token", "--simulated"]);
        let run = run(command.env(name, ""));
        assert_eq!(run.status, Some(0), "{name}: {run:#?}");
    }
    let mut command = emulated.keybound(&["get-token", "--simulated"]);
    let run = run(command.env("KEYBOUND_LOG", "keybound=loud"));
    assert!(run.stderr.contains("warning: KEYBOUND_LOG"), "{run:#?}");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::ffi::{OsStr, OsString};
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn accepts_paths_that_are_not_utf_8() {
        let (_folder, path) = folder_that_is_not_utf_8();
        let emulated = Emulated::shared();
        let ca_file = path.join("ca.pem");
        fs::copy(emulated.named("ca_file"), &ca_file).unwrap();
        fs::write(path.join("body"), "{}").unwrap();
        fs::write(path.join("emulator.toml"), "[graph]\n").unwrap();
        let mut data = OsString::from("@");
        data.push(path.join("body"));
        let mut call = emulated.keybound(&["call", "--simulated", "--output", "json", "-X", "GET"]);
        call.arg("--data").arg(data).arg("--ca-file").arg(&ca_file);
        let mut by_variable = emulated.keybound(&["get-token", "--simulated"]);
        by_variable.env("KEYBOUND_CA_FILE", &ca_file);
        let mut emulator = keybound(["emulator", "--config"]);
        emulator.arg(path.join("emulator.toml"));
        emulator.arg("--ready-file").arg(path.join("ready.json"));
        emulator.args(["--exec", "--", "test", "-s"]);
        emulator.arg(path.join("ready.json"));
        let mut state = keybound(["emulator", "--state-dir"]);
        state.arg(path.join("state"));
        state.args(["--exec", "--", "keybound", "get-token", "--simulated"]);
        let mut man = keybound(["man", "--dir"]);
        man.arg(path.join("man"));
        for command in [call, by_variable, emulator, state, man] {
            succeeds(command);
        }
    }

    #[test]
    fn ignores_variables_that_are_not_utf_8_and_not_needed() {
        let emulated = Emulated::shared();
        let not_utf_8 = OsStr::from_bytes(b"\xff");
        for (name, _) in MALFORMED {
            let mut command = emulated.keybound(&["get-token", "--simulated"]);
            command.env(name, not_utf_8);
            succeeds(command);
        }
        // Overridden by options.
        let ca_file = emulated.named("ca_file");
        let imds = emulated.named("imds");
        let flags = ["--imds", imds, "--ca-file", ca_file];
        let mut command = emulated.keybound(&[&["get-token", "--simulated"], &flags[..]].concat());
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", not_utf_8);
        command.env("KEYBOUND_CA_FILE", not_utf_8);
        succeeds(command);
    }

    #[test]
    fn rejects_paths_that_json_cannot_hold_before_start() {
        let (_folder, path) = folder_that_is_not_utf_8();
        let ready_file = path.join("ready.json");
        let exec = ["--exec", "--", "true"];
        let emulator = || keybound(["emulator"]);
        let state_dir = |mut command: Command| {
            command.arg("--state-dir").arg(path.join("state"));
            command
        };
        let alone = state_dir(emulator());
        let mut verbose = state_dir(emulator());
        verbose.arg("-v").args(exec);
        let mut written = state_dir(emulator());
        written.arg("--ready-file").arg(&ready_file).args(exec);
        let mut below = emulator();
        below.args(["--state-dir", "state"]).current_dir(&path);
        let mut temporary = emulator();
        temporary.env("TMPDIR", &path);
        for mut command in [alone, verbose, written, below, temporary] {
            let run = run(&mut command);
            assert_eq!(run.status, Some(2), "{command:?}: {run:#?}");
            assert!(run.stderr.contains("is not UTF-8"), "{command:?}: {run:#?}");
            assert_eq!(run.stdout, "");
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        let mut temporary = emulator();
        temporary.env("TMPDIR", &path).args(exec);
        succeeds(temporary);
    }

    #[test]
    fn temporary_ca_is_writable_by_owner_only_at_any_umask() {
        let script = r#"umask 0; exec "$0" emulator --exec -- sh -c 'ls -ld "${KEYBOUND_CA_FILE%/*}" "$KEYBOUND_CA_FILE"'"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_keybound")]);
        let run = run(&mut command);
        let modes: Vec<_> = run.stdout.lines().map(|line| &line[..10]).collect();
        assert_eq!(modes, ["drwxr-xr-x", "-rw-r--r--"], "{run:#?}");
    }

    /// Without a terminal OpenSSL would read the passphrase from standard input.
    #[cfg(target_os = "linux")]
    #[test]
    fn encrypted_key_causes_no_prompt() {
        use crate::support::run_with_input;
        use openssl::pkey::PKey;
        use openssl::symm::Cipher;
        let folder = tempfile::tempdir().unwrap();
        let emulator = || {
            let mut command = Command::new("setsid");
            command.args(["--wait", env!("CARGO_BIN_EXE_keybound"), "emulator"]);
            command.arg("--state-dir").arg(folder.path());
            command.args(["--exec", "--", "true"]);
            command
        };
        succeeds(emulator());
        let key_file = folder.path().join("ca-key.pem");
        let pem = fs::read(&key_file).unwrap();
        let key = PKey::private_key_from_pem(&pem).unwrap();
        let encrypted = key
            .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret")
            .unwrap();
        let certificate = fs::read(folder.path().join("ca.pem")).unwrap();
        fs::write(&key_file, [encrypted, certificate].concat()).unwrap();
        let run = run_with_input(
            &mut emulator(),
            b"secret
",
        );
        assert_eq!(run.status, Some(1), "{run:#?}");
        assert!(run.stderr.contains("does not hold a key"), "{run:#?}");
        assert!(!run.stderr.contains("pass phrase"), "{run:#?}");
    }

    #[test]
    fn paths_in_ready_line_are_absolute() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("temporary")).unwrap();
        for (flags, temporary) in [(&["--state-dir", "state"][..], "/tmp"), (&[], "temporary")] {
            let emulator = || {
                let mut command = keybound(["emulator", "--ready-file", "ready.json"]);
                command.args(flags).args(["--exec", "--"]);
                command.current_dir(folder.path()).env("TMPDIR", temporary);
                command
            };
            let mut elsewhere = emulator();
            let script = "cd / && exec keybound get-token --simulated";
            elsewhere.args(["sh", "-c", script]);
            succeeds(elsewhere);
            let ready = run(emulator().args(["cat", "ready.json"])).json();
            for path in [&ready["ca_file"], &ready["env"]["KEYBOUND_CA_FILE"]] {
                assert!(Path::new(path.as_str().unwrap()).is_absolute(), "{ready}");
            }
        }
    }

    fn succeeds(mut command: Command) {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    /// It is removed when the first is dropped.
    fn folder_that_is_not_utf_8() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(OsStr::from_bytes(b"not-\xff-text"));
        fs::create_dir(&path).unwrap();
        (folder, path)
    }
}

/// Variables with malformed values.
const MALFORMED: [(&str, &str); 10] = [
    ("KEYBOUND_LOG", "keybound=loud"),
    ("KEYBOUND_EMULATOR_VAULT", "::"),
    ("KEYBOUND_EMULATOR_GRAPH", "::"),
    ("ATTESTATION_CLIENTLIB_PATH", "not/absolute"),
    ("MSAL_MSI_V2_KEY_NAME", "a\\b/c\u{1}"),
    ("MSAL_MSI_V2_ATTESTATION_CACHE", "\u{1}"),
    ("HTTPS_PROXY", "https://proxy"),
    ("ALL_PROXY", "ftp://x"),
    ("NO_PROXY", "*.*,::/999"),
    ("SSL_CERT_FILE", "/none"),
];
