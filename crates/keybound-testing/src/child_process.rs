//! Another process, which a test talks to line by line.
use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A process whose standard output is read; it is killed on drop.
pub struct ChildProcess {
    /// The process.
    pub child: Child,
    output: Receiver<String>,
    skipped: Vec<String>,
}

impl ChildProcess {
    /// The command that runs an ignored test of this test program.
    pub fn of_test(name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([name, "--exact", "--ignored", "--nocapture"]);
        command
    }

    /// Starts the command.
    pub fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = piped.spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, output) = channel();
        // Ends with the process, or with the receiver.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            output,
            skipped: Vec::new(),
        }
    }

    /// Writes a line to its standard input.
    pub fn send(&mut self, line: impl Display) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    /// Waits for the next line that contains this text, and returns the rest of it.
    pub fn expect(&mut self, text: &str) -> String {
        loop {
            let line = self.output.recv_timeout(MAX_WAIT).unwrap_or_else(|error| {
                let printed = self.skipped.join("\n");
                panic!("a process did not print {text:?} ({error}), but:\n{printed}")
            });
            if let Some((_, rest)) = line.split_once(text) {
                return rest.to_owned();
            }
            self.skipped.push(line);
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Longer than any pause of a busy machine.
const MAX_WAIT: Duration = Duration::from_secs(240);

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn talks_to_a_process() {
        let mut process = ChildProcess::start(&mut ChildProcess::of_test(CHILD));
        process.send("one");
        assert_eq!(process.expect("echo "), "one");
        process.send("two");
        assert_eq!(process.expect("echo "), "two");
        process.send("");
        let missing = catch_unwind(AssertUnwindSafe(|| process.expect("echo ")));
        let message = *missing.unwrap_err().downcast::<String>().unwrap();
        assert!(
            message.contains("\"echo \"") && message.contains("\nend"),
            "{message}"
        );
    }

    #[test]
    #[ignore = "the child process of another test"]
    fn child() {
        let lines = std::io::stdin().lines().map(Result::unwrap);
        lines
            .take_while(|line| !line.is_empty())
            .for_each(|line| println!("echo {line}"));
        println!("end");
    }

    const CHILD: &str = "child_process::tests::child";
}
