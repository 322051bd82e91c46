//! Ctrl-C in a console of Windows. `console/console.c` is that console; scripts/test-windows builds it.
#![cfg(windows)]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use support::keybound;
use tempfile::TempDir;

#[test]
fn ctrl_c_stops_emulator() {
    let mut console = Console::open(&["emulator"]);
    console.wait_until_ready();
    assert!(!console.is_clean());
    console.press_ctrl_c();
    assert_eq!(console.status(), Some(0));
    assert!(console.is_clean(), "the CA is removed at the end");
}

#[test]
fn command_of_exec_handles_ctrl_c() {
    let mut console = Console::open(&["emulator", "--exec", "--", "keybound", "emulator"]);
    // The ready line of the inner emulator: the outer one prints none with a command.
    console.wait_until_ready();
    console.press_ctrl_c();
    assert_eq!(console.status(), Some(0));
    assert!(console.is_clean());
}

#[test]
fn stopped_demo_removes_its_files() {
    // On a busy machine, the demo may finish before it is stopped; hardly five times in a row.
    let ended = (0..5)
        .map(|_| stopped_demo())
        .find(|status| *status != Some(0));
    assert_eq!(ended, Some(Some(130)));
}

/// The exit status of a demo that is stopped as soon as it has a folder.
fn stopped_demo() -> Option<i32> {
    let mut console = Console::open(&["demo"]);
    while console.is_clean() && console.host.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    console.press_ctrl_c();
    let status = console.status();
    assert!(console.is_clean());
    status
}

/// A console with the program in it, and a folder for its temporary files.
struct Console {
    host: Child,
    stdout: BufReader<ChildStdout>,
    temporary: TempDir,
}

impl Console {
    fn open(arguments: &[&str]) -> Self {
        let console = std::env::var_os("KEYBOUND_CONSOLE");
        let console = console
            .expect("KEYBOUND_CONSOLE must be the path of console.exe: run scripts/test-windows");
        let temporary = tempfile::tempdir().unwrap();
        let program = keybound(arguments);
        let mut host = Command::new(console)
            .arg(program.get_program())
            .args(program.get_args())
            .envs(
                program
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("TMP", temporary.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(host.stdout.take().unwrap());
        Self {
            host,
            stdout,
            temporary,
        }
    }

    /// Waits for the ready line of an emulator.
    fn wait_until_ready(&mut self) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let is_ready = line.starts_with(r#"{"event":"ready""#);
        assert!(is_ready, "{line:?}, status {:?}", self.host.try_wait());
    }

    fn press_ctrl_c(&mut self) {
        // The console exits with the program.
        let _ = writeln!(self.host.stdin.as_mut().unwrap());
    }

    /// Waits for the program and returns its exit status.
    fn status(&mut self) -> Option<i32> {
        self.stdout.read_to_end(&mut Vec::new()).unwrap();
        self.host.wait().unwrap().code()
    }

    /// Whether there are no temporary files.
    fn is_clean(&self) -> bool {
        fs::read_dir(self.temporary.path())
            .unwrap()
            .next()
            .is_none()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.host.kill();
        let _ = self.host.wait();
    }
}
