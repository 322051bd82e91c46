//! Runs the program with an environment that the test defines.
#![allow(dead_code, reason = "each test program uses its part")]

mod captured;
pub mod echo;
pub mod emulated;
pub mod source;
mod spawned;
#[cfg(unix)]
pub mod terminal;

pub use spawned::spawn;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The result of a run.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Standard output and standard error.
    pub fn printed(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// Resets the action of SIGHUP: under `nohup`, the tests and their children would ignore it.
#[cfg(target_os = "linux")]
fn starter(program: &Path) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal=HUP").arg(program);
    command
}

#[cfg(not(target_os = "linux"))]
fn starter(program: &Path) -> Command {
    Command::new(program)
}

/// The program, with its folder first in PATH, for `emulator --exec -- keybound`.
pub fn keybound(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_keybound"));
    let mut folders = vec![program.parent().unwrap().to_path_buf()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let mut command = starter(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::join_paths(folders).unwrap())
        .stdin(Stdio::null());
    if let Some(root) = std::env::var_os("SystemRoot").filter(|_| cfg!(windows)) {
        // Without the first, sockets fail on Windows; without the second, temporary files are created in the folder of Windows.
        command
            .env("SystemRoot", root)
            .env("TMP", env!("CARGO_TARGET_TMPDIR"));
    }
    command
}

/// The error code where a KeyGuard key is required: these tests run on hosts without one.
pub const WITHOUT_KEYGUARD: &str = match cfg!(windows) {
    true => "key_isolation_unavailable",
    false => "key_too_weak",
};

/// Runs a command and returns its result.
pub fn run(command: &mut Command) -> Run {
    Run::of(captured::output(command, None))
}

/// Runs a command with the given standard input.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Run {
    Run::of(captured::output(command, Some(input)))
}

/// Whether a text contains a JWT: the start of its header or claims, and more than an abbreviation of it. No thumbprint starts
/// with these letters by chance.
pub fn shows_a_jwt(text: &str) -> bool {
    let starts = |part: &str| JSON_BEGINS.iter().any(|start| part.starts_with(start));
    let word = |c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c);
    text.split(word)
        .any(|word| word.split('.').any(|part| part.len() > 10 && starts(part)))
}

/// base64url of `{"alg":`, `{"typ":`, `{"aud":`, `{"iss":`.
const JSON_BEGINS: [&str; 4] = ["eyJhbGciO", "eyJ0eXAiO", "eyJhdWQiO", "eyJpc3MiO"];
