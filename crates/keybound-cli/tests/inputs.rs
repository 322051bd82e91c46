//! What the program is given: arguments and variables that are hostile, secret, no text, or of no concern.
#![allow(clippy::unwrap_used, reason = "a test ends where its footing is gone")]

mod support;

use support::emulated::Emulated;
use support::{keybound, run};

#[test]
fn what_a_usage_error_repeats_is_harmless_to_a_terminal() {
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
        assert!(run.seen().chars().all(harmless), "{words:?}: {run:#?}");
        let forged = |line: &str| line.starts_with("error: forged");
        assert!(!run.stderr.lines().any(forged), "{words:?}: {run:#?}");
        assert!(run.stderr.starts_with("error: "), "{words:?}: {run:#?}");
    }
}

#[test]
fn what_may_be_a_secret_is_not_repeated() {
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
        assert!(!run.seen().contains(secret), "{words:?}: {run:#?}");
        assert!(!run.seen().contains(jwt), "{words:?}: {run:#?}");
    }
}

#[test]
fn a_malformed_address_of_imds_is_named_for_what_it_is() {
    for imds in ["127.0.0.1:1", "localhost:1", "://", "https://127.0.0.1:1"] {
        for key in ["--simulated", "--no-attestation"] {
            let run = run(&mut keybound(["get-token", key, "--imds", imds]));
            assert_eq!(run.status, Some(2), "{imds}: {run:#?}");
            assert!(run.stderr.contains("a plain http URL"), "{imds}: {run:#?}");
        }
    }
}

#[test]
fn variables_that_concern_nothing_that_is_done_fail_nothing() {
    let world = Emulated::shared();
    let graph = format!("{}/v1.0/applications", world.named("graph"));
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
        let mut command = world.keybound(words);
        command.envs(MALFORMED);
        if quiet {
            // They concern connections, and there is none.
            command.env("KEYBOUND_CA_FILE", "/none");
            command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "::");
        }
        let run = run(&mut command);
        // The library is not there.
        let expected = i32::from(words[0] == "attestation");
        assert_eq!(run.status, Some(expected), "{words:?}: {run:#?}");
    }
    for (name, _) in MALFORMED {
        let mut command = world.keybound(&["get-token", "--simulated"]);
        let run = run(command.env(name, ""));
        assert_eq!(run.status, Some(0), "{name}: {run:#?}");
    }
    let mut command = world.keybound(&["get-token", "--simulated"]);
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
    fn paths_need_not_be_text() {
        let (_folder, path) = folder_that_is_no_text();
        let world = Emulated::shared();
        let ca_file = path.join("ca.pem");
        fs::copy(world.named("ca_file"), &ca_file).unwrap();
        fs::write(path.join("body"), "{}").unwrap();
        fs::write(path.join("emulator.toml"), "[graph]\n").unwrap();
        let mut data = OsString::from("@");
        data.push(path.join("body"));
        let mut call = world.keybound(&["call", "--simulated", "--output", "json", "-X", "GET"]);
        call.arg("--data").arg(data).arg("--ca-file").arg(&ca_file);
        let mut by_variable = world.keybound(&["get-token", "--simulated"]);
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
    fn variables_that_concern_nothing_need_not_be_text() {
        let world = Emulated::shared();
        let not_text = OsStr::from_bytes(b"\xff");
        for (name, _) in MALFORMED {
            let mut command = world.keybound(&["get-token", "--simulated"]);
            command.env(name, not_text);
            succeeds(command);
        }
        // Overridden by flags.
        let ca_file = world.named("ca_file");
        let imds = world.named("imds");
        let flags = ["--imds", imds, "--ca-file", ca_file];
        let mut command = world.keybound(&[&["get-token", "--simulated"], &flags[..]].concat());
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", not_text);
        command.env("KEYBOUND_CA_FILE", not_text);
        succeeds(command);
    }

    #[test]
    fn paths_that_json_cannot_hold_are_rejected_first() {
        let (_folder, path) = folder_that_is_no_text();
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
    fn the_temporary_ca_is_the_owners_to_write_whatever_the_umask() {
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
    fn an_encrypted_key_causes_no_prompt() {
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
    fn paths_that_others_are_given_are_absolute() {
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

    /// It goes away with the first.
    fn folder_that_is_no_text() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(OsStr::from_bytes(b"not-\xff-text"));
        fs::create_dir(&path).unwrap();
        (folder, path)
    }
}

/// By themselves none of them can be meant.
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
