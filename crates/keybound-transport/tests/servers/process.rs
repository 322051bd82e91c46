//! A server as an ordinary process: its message are heard, and it ends with the value.
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A program of its own process group, of which it may have more processes.
pub struct Process {
    child: Child,
    pid: Pid,
    output: Arc<Output>,
}

/// What a process has output so far.
#[derive(Default)]
struct Output {
    message: Mutex<Words>,
    more: Condvar,
}

#[derive(Default)]
struct Words {
    /// Of the standard error output, line by line.
    lines: Vec<String>,
    /// The standard output.
    out: Vec<u8>,
    over: bool,
}

impl Process {
    /// Starts it. Its outputs are read as they come.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::<Output>::default();
        let (errors, out) = (child.stderr.take().unwrap(), child.stdout.take().unwrap());
        let (ear, other_ear) = (Arc::clone(&output), Arc::clone(&output));
        std::thread::spawn(move || ear.hear_lines(errors));
        std::thread::spawn(move || other_ear.hear(out));
        Self {
            pid: Pid::from_child(&child),
            child,
            output,
        }
    }

    /// Its standard input, once.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// How many lines of its standard error output it has output so far.
    pub fn lines(&self) -> usize {
        self.output.lock().lines.len()
    }

    /// How many lines with those message it has output.
    pub fn count(&self, message: &str) -> usize {
        let output = self.output.lock();
        output
            .lines
            .iter()
            .filter(|line| line.contains(message))
            .count()
    }

    /// Its standard output so far.
    pub fn out(&self) -> Vec<u8> {
        self.output.lock().out.clone()
    }

    /// Waits until it says a line with those message, after the first so many lines.
    ///
    /// # Errors
    /// Everything that it output, where it ends before or takes far too long.
    pub fn wait_for(&self, message: &str, after: usize) -> Result<(), String> {
        let end = Instant::now() + FAR_TOO_LONG;
        let mut output = self.output.lock();
        loop {
            let mut lines = output.lines.iter().skip(after);
            if lines.any(|line| line.contains(message)) {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if output.over || left.is_zero() {
                return Err(output.lines.join("\n"));
            }
            output = self.output.more.wait_timeout(output, left).unwrap().0;
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Ends it and whatever it has started at once.
    pub fn kill(&mut self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Words> {
        self.message.lock().unwrap()
    }

    fn hear_lines(&self, source: impl Read) {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            self.lock().lines.push(line);
            self.more.notify_all();
        }
        self.lock().over = true;
        self.more.notify_all();
    }

    fn hear(&self, mut source: impl Read) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = source.read(&mut buffer) {
            self.lock().out.extend_from_slice(&buffer[..read]);
        }
    }
}

const FAR_TOO_LONG: Duration = Duration::from_secs(30);
