//! A running `keybound emulator`, and the program in its world.
use super::{Run, keybound, run};
use keybound_emulator::{Config, Emulator};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

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
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
