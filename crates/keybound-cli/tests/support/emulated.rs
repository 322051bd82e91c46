//! A running `keybound emulator`, and the program with its environment.
use super::{Run, keybound, run, spawn};
use keybound_emulator::{Config, Emulator, Record};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// An emulator that stops when it is dropped.
pub struct Emulated {
    host: Host,
    pub ready: Value,
}

/// The process that runs the emulator: a child process, or this one.
enum Host {
    Program(
        Child,
        #[expect(dead_code, reason = "held open")] BufReader<ChildStdout>,
    ),
    ThisProcess(Box<Emulator>),
}

impl Emulated {
    /// Starts `keybound emulator` with these options and waits for its ready line.
    pub fn start(flags: &[&str]) -> Self {
        let mut command = keybound(["emulator"]);
        command
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = spawn(&mut command);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        Self {
            ready: serde_json::from_str(&line).unwrap(),
            host: Host::Program(child, stdout),
        }
    }

    /// An emulator in this process with the default configuration, for all tests that inject no faults.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Emulated> = LazyLock::new(|| {
            // It is never dropped, so that its CA is not removed: it is stored in the target folder.
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
            let emulator = Emulator::builder().state_dir(folder).start().unwrap();
            Emulated {
                ready: serde_json::to_value(emulator.ready()).unwrap(),
                host: Host::ThisProcess(Box::new(emulator)),
            }
        });
        &SHARED
    }

    /// Replaces the injected faults by this one.
    pub fn fault(&self, fault: &str) {
        let emulator = self.emulator();
        emulator.clear_faults();
        emulator.inject(fault.parse().unwrap()).unwrap();
    }

    /// The requests that the services received.
    pub fn records(&self) -> Vec<Record> {
        self.emulator().records()
    }

    fn emulator(&self) -> &Emulator {
        match &self.host {
            Host::ThisProcess(emulator) => emulator,
            Host::Program(..) => panic!("the emulator is a child process"),
        }
    }

    /// An emulator in this process with the default configuration, for one test.
    pub fn in_this_process() -> Self {
        let emulator = Emulator::start(Config::default()).unwrap();
        Self {
            ready: serde_json::to_value(emulator.ready()).unwrap(),
            host: Host::ThisProcess(Box::new(emulator)),
        }
    }

    /// The program with the environment in the ready line.
    pub fn keybound(&self, arguments: &[&str]) -> Command {
        let mut command = keybound(arguments);
        for (name, value) in self.ready["env"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        command
    }

    /// Runs the program with this emulator.
    pub fn run(&self, arguments: &[&str]) -> Run {
        run(&mut self.keybound(arguments))
    }

    /// Runs the program with a timeout in seconds; again with four and sixteen times as many where it failed at an earlier stage:
    /// on a busy machine, creating a key is slow.
    pub fn run_until(&self, stage: &str, seconds: f64, arguments: &[&str]) -> Run {
        let run = |seconds: f64| {
            let started = Instant::now();
            let timeout = seconds.to_string();
            let run = self.run(&[arguments, &["--output", "json", "--timeout", &timeout]].concat());
            let limit = Duration::from_secs_f64(seconds) + MAX_START_TIME;
            assert!(
                started.elapsed() < limit,
                "later than the timeout: {run:#?}"
            );
            run
        };
        [seconds, 4.0 * seconds]
            .into_iter()
            .map(run)
            .find(|run| run.json()["error"]["stage"] == stage)
            .unwrap_or_else(|| run(16.0 * seconds))
    }

    /// A member of the ready line.
    pub fn named(&self, name: &str) -> &str {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name}: {}", self.ready))
    }

    /// The child process.
    pub fn process(&mut self) -> &mut Child {
        match &mut self.host {
            Host::Program(child, _) => child,
            Host::ThisProcess(_) => panic!("it runs in this process"),
        }
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        if let Host::Program(child, _) = &mut self.host {
            stop(child);
            let _ = child.wait();
        }
    }
}

/// By a signal, so that the emulator removes its folder.
#[cfg(unix)]
fn stop(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    // The process id of a process that has been waited for may be reused.
    if let Ok(None) = child.try_wait()
        && let Some(id) = child.id().try_into().ok().and_then(Pid::from_raw)
    {
        let _ = kill_process(id, Signal::TERM);
    }
}

#[cfg(not(unix))]
fn stop(child: &mut Child) {
    let _ = child.kill();
}

/// The start of the program is not part of the timeout, and the machine may be busy.
const MAX_START_TIME: Duration = Duration::from_secs(60);
