//! Runs the program as its users do, with an environment of nothing but what the test gives it.
#![allow(dead_code, reason = "each test program uses its part")]

mod captured;
pub mod echo;
pub mod emulated;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a run left behind.
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

    /// Everything that was printed.
    pub fn seen(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// Has the program heed hang-ups, also where the tests run under `nohup` and would hand on that they are ignored.
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

/// The program, found first on its own search path too: for `emulator --exec -- keybound`.
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
        // Without the first Windows has no sockets, without the second it puts what is temporary into its own folder.
        command
            .env("SystemRoot", root)
            .env("TMP", env!("CARGO_TARGET_TMPDIR"));
    }
    command
}

/// The code of the error where a KeyGuard key is requested: these tests are for hosts without.
pub const WITHOUT_KEYGUARD: &str = match cfg!(windows) {
    true => "key_isolation_unavailable",
    false => "key_too_weak",
};

/// Runs it to its end.
pub fn run(command: &mut Command) -> Run {
    Run::of(captured::output(command, None))
}

/// Runs it to its end with this on standard input.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Run {
    Run::of(captured::output(command, Some(input)))
}

/// Whether a token or another JWT can be read off a text: the begin of a header or of claims and more than an abbreviation
/// of it shows. By letters that no thumbprint begins with by chance.
pub fn shows_a_jwt(text: &str) -> bool {
    let begin = |part: &str| JSON_BEGINS.iter().any(|begin| part.starts_with(begin));
    let word = |c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c);
    text.split(word)
        .any(|word| word.split('.').any(|part| part.len() > 10 && begin(part)))
}

/// base64url of `{"alg":`, `{"typ":`, `{"aud":`, `{"iss":`.
const JSON_BEGINS: [&str; 4] = ["eyJhbGciO", "eyJ0eXAiO", "eyJhdWQiO", "eyJpc3MiO"];
