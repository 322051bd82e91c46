//! The same by Python's `requests`: a `Session` with an ordinary key file for each caller, in a process of their own.
use crate::server::Site;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running Python that waits for orders. It ends with the value.
pub struct Python {
    process: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Python {
    pub fn start(site: &Site, authorization: &str, callers: usize) -> Self {
        let mut process = Command::new(PROGRAM)
            .args(["-c", SCRIPT, &site.url(), &callers.to_string()])
            .args(["servers.pem", "client.pem", "client.key"].map(|name| site.file(name)))
            // Nothing of the surroundings changes what it does: no proxies, no other packages.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("/usr/bin/python3 is missing: install the Debian package python3-requests");
        let mut python = Self {
            orders: process.stdin.take().expect("a pipe"),
            reports: BufReader::new(process.stdout.take().expect("a pipe")),
            process,
        };
        // Not as an argument, which the whole machine can read.
        python.order(authorization);
        python
    }

    /// So many GETs by each caller.
    pub fn get(&mut self, each: usize) {
        self.order(&each.to_string());
    }

    fn order(&mut self, words: &str) {
        writeln!(self.orders, "{words}").expect("an order");
        let mut report = String::new();
        self.reports.read_line(&mut report).expect("a report");
        assert_eq!(
            report, "done\n",
            "Python did not get there; is the Debian package python3-requests there?"
        );
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian's own, which the package belongs to.
const PROGRAM: &str = "/usr/bin/python3";
const SCRIPT: &str = include_str!("session.py");
