//! The same with Python's `requests`: a `Session` with an ordinary key file per caller, in a separate process.
use crate::server::Site;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A Python process that waits for commands. It is killed on drop.
pub struct Python {
    process: Child,
    commands: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Python {
    pub fn start(site: &Site, authorization: &str, callers: usize) -> Self {
        let mut process = Command::new(PROGRAM)
            .args(["-c", SCRIPT, &site.url(), &callers.to_string()])
            .args(["servers.pem", "client.pem", "client.key"].map(|name| site.file(name)))
            // Without influence of the environment: no proxies, no other packages.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("/usr/bin/python3 is missing: install the Debian package python3-requests");
        let mut python = Self {
            commands: process.stdin.take().expect("a pipe"),
            reports: BufReader::new(process.stdout.take().expect("a pipe")),
            process,
        };
        // Not as an argument, which other processes can read.
        python.run(authorization);
        python
    }

    /// Sends this number of GET requests per caller.
    pub fn get(&mut self, each: usize) {
        self.run(&each.to_string());
    }

    fn run(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("a command");
        let mut report = String::new();
        self.reports.read_line(&mut report).expect("a report");
        assert_eq!(
            report, "done\n",
            "Python failed; is the Debian package python3-requests installed?"
        );
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian's Python, which has the package.
const PROGRAM: &str = "/usr/bin/python3";
const SCRIPT: &str = include_str!("session.py");
