//! `emulator --exec` runs a command as `env` does: signals, job control, exit statuses, and no temporary files left.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use support::{keybound, run, spawn};
use tempfile::TempDir;

#[test]
fn forwards_each_signal_once() {
    let handled = "HUP,INT,QUIT,USR1,USR2,ALRM,WINCH,CONT,TSTP,VTALRM,PROF,URG";
    let mut wrapped = Wrapped::start(&["python3", REPORT, handled]);
    assert!(wrapped.line().starts_with("up "));
    for (signal, name) in SIGNALS {
        wrapped.signal(*signal);
        assert_eq!(wrapped.line(), format!("{name} parent\n"));
    }
    assert_eq!(wrapped.end(), Some(9));
}

#[cfg(target_os = "linux")]
#[test]
fn forwards_signals_of_linux() {
    let mut wrapped = Wrapped::start(&["python3", REPORT, "IO,PWR,STKFLT"]);
    assert!(wrapped.line().starts_with("up "));
    for (signal, name) in [
        (Signal::IO, "SIGIO"),
        (Signal::POWER, "SIGPWR"),
        (Signal::STKFLT, "SIGSTKFLT"),
        (Signal::TERM, "SIGTERM"),
    ] {
        wrapped.signal(signal);
        let line = wrapped.line();
        // The same number has two names in Python.
        assert!(
            line == format!("{name} parent\n") || line == "SIGPOLL parent\n",
            "{line}"
        );
    }
    assert_eq!(wrapped.end(), Some(9));
}

#[test]
fn does_not_forward_signal_to_its_sender() {
    let script = "
import os, signal
both = {signal.SIGUSR1, signal.SIGUSR2}
signal.pthread_sigmask(signal.SIG_BLOCK, both)
for round in range(5):
    os.killpg(0, signal.SIGUSR1)
    signal.sigwait({signal.SIGUSR1})
    print('sent', flush=True)
    # The emulator has handled the signals before this one.
    signal.sigwait({signal.SIGUSR2})
    assert signal.SIGUSR1 not in signal.sigpending()
";
    let mut wrapped = Wrapped::start(&["python3", "-c", script]);
    for _ in 0..5 {
        assert_eq!(wrapped.line(), "sent\n");
        wrapped.signal(Signal::USR2);
    }
    assert_eq!(wrapped.end(), Some(0));
}

/// A command in a terminal behaves as without the emulator: the functions of `terminal.py`, each in its own session.
#[cfg(target_os = "linux")]
mod terminal {
    fn functions() -> impl Iterator<Item = String> {
        let script = include_str!("command/terminal.py");
        let functions = script.lines().filter_map(|line| line.strip_prefix("def "));
        let without_parameters = functions.filter_map(|line| line.strip_suffix("():"));
        let cases = without_parameters.filter(|name| *name != "main");
        cases.map(str::to_owned)
    }

    keybound_testing::cases! {
        super::run_in_terminal, functions();
        keys_reach_the_command_once
        a_command_in_a_group_of_its_own_receives_keys_too
        a_hangup_reaches_the_command_of_the_leader
        a_job_stops_and_continues_with_its_command
        a_command_that_stops_itself_gives_the_terminal_back
        a_suspend_without_a_shell_stops_no_process
        a_command_that_stops_itself_without_a_shell_stops_nothing_else
        a_signal_of_the_kernel_that_is_not_of_the_terminal_is_forwarded
    }
}

#[cfg(target_os = "linux")]
fn run_in_terminal(case: &str) {
    let mut command = Command::new("setsid");
    command
        .args(["--wait", "python3", TERMINAL, case])
        .arg(env!("CARGO_BIN_EXE_keybound"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn command_is_killed_with_emulator() {
    // One process, which prints another line unless it is killed.
    let script = "import time; print('up', flush=True); time.sleep(60); print('alive')";
    let mut wrapped = Wrapped::start(&["python3", "-c", script]);
    assert_eq!(wrapped.line(), "up\n");
    wrapped.signal(Signal::KILL);
    assert_eq!(wrapped.child.wait().unwrap().code(), None);
    // Ends when the last process that could write has exited.
    assert_eq!(wrapped.stdout.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn ignored_signals_stay_ignored() {
    let report = ["grep", "-E", "^Sig(Ign|Blk):", "/proc/self/status"];
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD,HUP,INT,QUIT,USR1,ALRM,TSTP,WINCH");
    command
        .arg(env!("CARGO_BIN_EXE_keybound"))
        .args(["emulator", "--exec", "--"])
        .args(report);
    let run = run(&mut command);
    assert_eq!(run.status, Some(0), "{run:#?}");
    let mask = |name: &str| {
        let line = run.stdout.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    // All but SIGCHLD: while that is ignored, the kernel discards exit statuses.
    let ignored = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::ALARM,
        Signal::TSTP,
        Signal::WINCH,
    ];
    let bits = |signals: &[Signal]| {
        signals
            .iter()
            .fold(0, |mask, it| mask | 1 << (it.as_raw() - 1))
    };
    // Signals above 31 belong to the C library, and are inherited from the process that runs the tests.
    assert_eq!(mask("SigIgn:") & 0x7fff_ffff, bits(&ignored), "{run:#?}");
    assert_eq!(mask("SigBlk:"), 0, "{run:#?}");
}

#[test]
fn exit_statuses_are_those_of_env() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let not_executable = file("not-executable", "#!/bin/sh\n", 0o644);
    let no_interpreter = file("no-interpreter", "#!/no/such/interpreter\n", 0o755);
    let no_interpreter_named = file("no-interpreter-named", "exit 5\n", 0o755);
    let below_a_file = format!("{not_executable}/x");
    let cases: &[(&[&str], i32)] = &[
        (&["no-such-command"], 127),
        (&["./no-such-command"], 127),
        (&[""], 127),
        (&[&no_interpreter], 127),
        (&[&not_executable], 126),
        (&[folder.path().to_str().unwrap()], 126),
        (&[&below_a_file], 126),
        (&[&no_interpreter_named], 5),
        (&["sh", "-c", "exit 0"], 0),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["sh", "-c", "kill -SEGV $$"], 139),
        (&["sh", "-c", "kill -USR1 $$"], 138),
    ];
    for (words, status) in cases {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = keybound(["emulator", "--exec", "--"]);
        let ours = run(command.args(*words).env("TMPDIR", temporary.path()));
        assert_eq!(ours.status, Some(*status), "{words:?}: {ours:#?}");
        assert_eq!(ours.stdout, "", "{words:?}");
        let is_reported = [126, 127].contains(status);
        assert_eq!(
            ours.stderr.starts_with("error: "),
            is_reported,
            "{words:?}: {ours:#?}"
        );
        assert!(is_empty(temporary.path()), "{words:?}");
    }
}

#[test]
fn emulator_removes_its_files_at_any_ending_signal() {
    for (signal, status) in [
        (Signal::TERM, 0),
        (Signal::INT, 0),
        (Signal::HUP, 0),
        (Signal::QUIT, 131),
        (Signal::USR1, 138),
        (Signal::USR2, 140),
        (Signal::ALARM, 142),
    ] {
        let mut wrapped = Wrapped::of(keybound(["emulator"]));
        assert!(wrapped.line().starts_with(r#"{"event":"ready""#));
        assert!(!is_empty(wrapped.temporary.path()));
        wrapped.signal(signal);
        assert_eq!(wrapped.end(), Some(status), "{signal:?}");
    }
}

/// An emulator, with a folder for its temporary files.
struct Wrapped {
    child: Child,
    stdout: BufReader<ChildStdout>,
    temporary: TempDir,
}

impl Wrapped {
    /// Starts an emulator that runs a command.
    fn start(command: &[&str]) -> Self {
        Self::of(keybound([&["emulator", "--exec", "--"], command].concat()))
    }

    fn of(mut command: Command) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        command
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            // For commands that signal their group.
            .process_group(0);
        let mut child = spawn(&mut command);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdout,
            temporary,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits for the end and returns the exit status; no temporary files are left.
    fn end(&mut self) -> Option<i32> {
        let status = self.child.wait().unwrap().code();
        assert!(is_empty(self.temporary.path()));
        status
    }
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

const SIGNALS: &[(Signal, &str)] = &[
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::WINCH, "SIGWINCH"),
    (Signal::CONT, "SIGCONT"),
    (Signal::TSTP, "SIGTSTP"),
    (Signal::VTALARM, "SIGVTALRM"),
    (Signal::PROF, "SIGPROF"),
    (Signal::URG, "SIGURG"),
    (Signal::TERM, "SIGTERM"),
];
const REPORT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/command/report_signals.py"
);
#[cfg(target_os = "linux")]
const TERMINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/command/terminal.py");
