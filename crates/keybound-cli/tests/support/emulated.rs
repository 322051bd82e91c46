//! A running `keybound emulator`, and the program with its environment.
use super::{Run, keybound, run};
use keybound_emulator::{Config, Emulator};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// An emulator that ends with the test.
pub struct Emulated {
    host: Host,
    pub ready: Value,
}

/// What runs it: a program of its own, or this one.
enum Host {
    Program(
        Child,
        #[expect(dead_code, reason = "held open")] BufReader<ChildStdout>,
    ),
    ThisProgram(Emulator),
}

impl Emulated {
    /// Starts one with these flags and waits for its ready line.
    pub fn start(flags: &[&str]) -> Self {
        let mut command = keybound(["emulator"]);
        command
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        Self {
            ready: serde_json::from_str(&line).unwrap(),
            host: Host::Program(child, stdout),
        }
    }

    /// One with the default configuration, in this program and for all tests in it that leave it as it is.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Emulated> = LazyLock::new(|| {
            // It does not end before the program does, which then removes nothing: the CA goes where tests may leave it.
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
            let emulator = Emulator::builder().state_dir(folder).start().unwrap();
            Emulated {
                ready: serde_json::to_value(emulator.ready()).unwrap(),
                host: Host::ThisProgram(emulator),
            }
        });
        &SHARED
    }

    /// Lets this go wrong next, and nothing else.
    pub fn fault(&self, fault: &str) {
        let Host::ThisProgram(emulator) = &self.host else {
            panic!("name the fault at the start");
        };
        emulator.clear_faults();
        emulator.inject(fault.parse().unwrap()).unwrap();
    }

    /// One with the default configuration, in this program, for this test alone.
    pub fn in_this_program() -> Self {
        let emulator = Emulator::start(Config::default()).unwrap();
        Self {
            ready: serde_json::to_value(emulator.ready()).unwrap(),
            host: Host::ThisProgram(emulator),
        }
    }

    /// The program with the environment that the ready line names.
    pub fn keybound(&self, arguments: &[&str]) -> Command {
        let mut command = keybound(arguments);
        for (name, value) in self.ready["env"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        command
    }

    /// Runs the program in this world to its end.
    pub fn run(&self, arguments: &[&str]) -> Run {
        run(&mut self.keybound(arguments))
    }

    /// Runs the program in this world with so many seconds; with four times as many, twice at most, where the time ended
    /// before the stage that is to fail: a machine that is busy makes keys slowly.
    pub fn run_until(&self, stage: &str, seconds: f64, arguments: &[&str]) -> Run {
        let run = |seconds: f64| {
            let started = Instant::now();
            let given = seconds.to_string();
            let run = self.run(&[arguments, &["--output", "json", "--timeout", &given]].concat());
            let most = Duration::from_secs_f64(seconds) + START_OF_A_PROGRAM;
            assert!(
                started.elapsed() < most,
                "later than the time given: {run:#?}"
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

    /// The process that runs it.
    pub fn process(&mut self) -> &mut Child {
        match &mut self.host {
            Host::Program(child, _) => child,
            Host::ThisProgram(_) => panic!("it runs in this program"),
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

/// In good order, so that it removes its folder.
#[cfg(unix)]
fn stop(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    // One that has been waited for is gone, and its number may be another's.
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

/// Generous: the machine may be busy, and the time given counts from when the program runs.
const START_OF_A_PROGRAM: Duration = Duration::from_secs(10);
