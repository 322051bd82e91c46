//! Pipes, signals, completions, man pages, the emulator with a command, the demo.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use serde_json::Value;
use std::fs;
use std::process::Stdio;
use support::emulated::Emulated;
use support::{keybound, run, shows_a_jwt, spawn};

#[test]
fn closed_pipe_is_success() {
    let mut child = spawn(keybound(["completions", "bash"]).stdout(Stdio::piped()));
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn runs_with_closed_standard_error() {
    let script = "exec 2>&-; exec keybound get-token --simulated";
    let mut command = keybound(["emulator", "--exec", "--", "sh", "-c", script]);
    let run = run(&mut command);
    assert_eq!(run.status, Some(0), "{run:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn fails_where_disk_is_full() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = keybound(["completions", "bash"]);
    let output = command
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .starts_with("error: writing to standard output failed")
    );
}

#[test]
fn prints_completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = run(&mut keybound(["completions", shell]));
        assert_eq!(run.status, Some(0), "{shell}");
        assert!(
            run.stdout.contains("get-token") && run.stdout.contains("min-strength"),
            "{shell}"
        );
    }
}

#[test]
fn writes_man_pages_for_every_subcommand() {
    let program = run(&mut keybound(["man"]));
    assert!(
        program.stdout.contains(".TH keybound 1"),
        "{}",
        program.stdout
    );
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let run = run(&mut keybound(["man", "--dir", pages.to_str().unwrap()]));
    assert_eq!(run.status, Some(0), "{run:#?}");
    let mut names: Vec<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort();
    let expected = [
        "keybound-attestation-probe.1",
        "keybound-attestation.1",
        "keybound-call.1",
        "keybound-capabilities.1",
        "keybound-completions.1",
        "keybound-demo.1",
        "keybound-doctor.1",
        "keybound-emulator.1",
        "keybound-get-token.1",
        "keybound-man.1",
        "keybound-selftest.1",
        "keybound-verify-check.1",
        "keybound-verify-config.1",
        "keybound-verify-keys.1",
        "keybound-verify-reload.1",
        "keybound-verify-serve.1",
        "keybound-verify.1",
        "keybound.1",
    ];
    assert_eq!(names, expected);
    let page = fs::read_to_string(pages.join("keybound-get-token.1")).unwrap();
    assert!(
        page.contains("keybound get\\-token") && page.contains("min\\-strength"),
        "{page}"
    );
}

#[test]
fn powershell_script_uses_existing_options() {
    let script = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../scripts/get-token.ps1"
    ))
    .unwrap();
    let help = run(&mut keybound(["call", "--help"])).stdout;
    let options: Vec<_> = script
        .split('\'')
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .collect();
    assert_eq!(options.len(), 4, "{options:?}");
    for option in options {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn demo_succeeds_in_any_environment() {
    let mut command = keybound(["demo"]);
    for (name, value) in HOSTILE_ENVIRONMENT {
        command.env(name, value);
    }
    let run = run(&mut command);
    assert_eq!(run.status, Some(0), "{run:#?}");
    for step in 0..=7 {
        assert!(
            run.stdout.contains(&format!("step {step} ")),
            "step {step}: {}",
            run.stdout
        );
    }
    assert!(
        run.stdout.contains("only the holder of the key reads this"),
        "{}",
        run.stdout
    );
    assert_eq!(
        run.stdout.matches(": refused\n").count(),
        2,
        "{}",
        run.stdout
    );
    assert_eq!(run.stderr, "");
    assert!(!shows_a_jwt(&run.printed()));
}

#[test]
fn demo_prints_one_json_object() {
    let run = run(&mut keybound(["demo", "--json"]));
    assert_eq!(run.status, Some(0), "{run:#?}");
    let story = run.json();
    assert_eq!(story["ok"], true);
    assert_eq!(story["simulated"], true);
    assert_eq!(story["call"]["status"], 200);
    assert_eq!(story["call"]["certificate_requested"], true);
    assert_eq!(
        story["call"]["secret"],
        "only the holder of the key reads this"
    );
    assert_eq!(
        story["token"]["binding"]["x5t#S256"],
        story["claims"]["cnf"]["x5t#S256"]
    );
    let thefts = story["thefts"].as_array().unwrap();
    assert_eq!(thefts.len(), 2);
    for theft in thefts {
        assert_eq!(theft["refused"], true, "{theft}");
        assert_eq!(theft["status"], 401, "{theft}");
        assert!(
            theft["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{theft}"
        );
    }
    assert_eq!(story["steps"].as_array().unwrap().len(), 8);
    assert!(!shows_a_jwt(&run.printed()));
}

#[test]
fn ready_line_names_the_services() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready.json");
    let emulated = Emulated::start(&["--ready-file", file.to_str().unwrap()]);
    assert_eq!(emulated.named("event"), "ready");
    for service in ["sts", "maa", "vault", "graph"] {
        assert!(emulated.named(service).starts_with("https://"), "{service}");
    }
    assert!(emulated.named("imds").starts_with("http://"));
    assert!(fs::exists(emulated.named("ca_file")).unwrap());
    assert!(emulated.ready["env"]["AZURE_POD_IDENTITY_AUTHORITY_HOST"].is_string());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "only the owner reads the control secret");
    }
    let written: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(written, emulated.ready);
}

#[test]
fn reports_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = run(&mut keybound(["emulator", "--imds-port", &port]));
    assert_eq!(run.status, Some(1), "{run:#?}");
    assert!(
        run.stderr.contains("cannot listen") && run.stderr.contains(&port),
        "{run:#?}"
    );
    assert_eq!(run.stdout, "");
}

#[test]
fn reports_missing_command() {
    let run = run(&mut keybound([
        "emulator",
        "--exec",
        "--",
        "no-such-command",
    ]));
    assert_eq!(run.status, Some(127), "{run:#?}");
    assert!(run.stderr.contains("no-such-command"), "{run:#?}");
}

#[cfg(windows)]
#[test]
fn exec_returns_status_of_command_and_leaves_it_standard_output() {
    // The status is a byte.
    for (script, status) in [("exit 7", 7), ("exit 70000", 255), ("exit 0", 0)] {
        let run = run(&mut keybound([
            "emulator", "--exec", "--", "cmd", "/C", script,
        ]));
        assert_eq!(run.status, Some(status), "{script}");
        assert_eq!(run.stdout, "");
    }
    let echo = ["emulator", "-v", "--exec", "--", "cmd", "/C", "echo mine"];
    let run = run(&mut keybound(echo));
    assert_eq!(run.stdout, "mine\r\n");
    assert!(run.stderr.contains(r#""event":"ready""#), "{run:#?}");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{BufRead as _, BufReader};

    #[test]
    fn emulator_stops_at_signal() {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let mut emulated = Emulated::start(&[]);
            let ca_file = emulated.named("ca_file").to_owned();
            let id = Pid::from_raw(emulated.process().id().try_into().unwrap()).unwrap();
            kill_process(id, signal).unwrap();
            assert_eq!(
                emulated.process().wait().unwrap().code(),
                Some(0),
                "{signal:?}"
            );
            assert!(
                !fs::exists(ca_file).unwrap(),
                "the CA is removed at the end"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn ignored_hangup_stays_ignored() {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "trap '' HUP; exec \"$0\" emulator"])
            .arg(env!("CARGO_BIN_EXE_keybound"))
            .stdout(Stdio::piped());
        let mut child = spawn(&mut command);
        let mut ready = BufReader::new(child.stdout.take().unwrap());
        ready.read_line(&mut String::new()).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let ignored = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        let id = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(ignored.unwrap() & 1, 1, "{status}");
    }

    #[test]
    fn stopped_demo_removes_its_files() {
        for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            // On a busy machine, the demo may finish before it is stopped; hardly five times in a row.
            let ended = (0..5)
                .map(|_| stopped_demo(signal))
                .find(|status| *status != Some(0));
            assert_eq!(ended, Some(Some(status)), "{signal:?}");
        }
    }

    /// The exit status of a demo that is stopped as soon as it has a folder.
    fn stopped_demo(signal: Signal) -> Option<i32> {
        let folder = tempfile::tempdir().unwrap();
        let is_empty = || fs::read_dir(folder.path()).unwrap().next().is_none();
        let mut command = keybound(["demo"]);
        let mut child = spawn(command.env("TMPDIR", folder.path()).stdout(Stdio::null()));
        while is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let id = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        if child.try_wait().unwrap().is_none() {
            kill_process(id, signal).unwrap();
        }
        let status = child.wait().unwrap().code();
        assert!(is_empty(), "{signal:?}");
        status
    }

    #[test]
    fn exec_leaves_standard_output_to_command() {
        let run = run(&mut keybound([
            "emulator", "-v", "--exec", "--", "echo", "mine",
        ]));
        assert_eq!(run.stdout, "mine\n");
        assert!(run.stderr.contains(r#""event":"ready""#), "{run:#?}");
    }
}

const HOSTILE_ENVIRONMENT: [(&str, &str); 6] = [
    ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9"),
    ("KEYBOUND_CA_FILE", "/none"),
    ("KEYBOUND_LOG", "trace"),
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("ALL_PROXY", "http://127.0.0.1:9"),
    ("SSL_CERT_FILE", "/none"),
];
