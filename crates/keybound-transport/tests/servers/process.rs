//! A server process, whose output is read, and which is killed on drop.
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A program in its own process group.
pub struct Process {
    child: Child,
    pid: Pid,
    output: Arc<Output>,
}

/// The output of a process so far.
#[derive(Default)]
struct Output {
    message: Mutex<OutputState>,
    more: Condvar,
}

#[derive(Default)]
struct OutputState {
    /// The lines of the standard error output.
    lines: Vec<String>,
    /// The standard output.
    out: Vec<u8>,
    ended: bool,
}

impl Process {
    /// Starts the program, and threads that read its output.
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
        let (lines_reader, out_reader) = (Arc::clone(&output), Arc::clone(&output));
        std::thread::spawn(move || lines_reader.read_lines(errors));
        std::thread::spawn(move || out_reader.read_all(out));
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

    /// The number of lines of its standard error output so far.
    pub fn lines(&self) -> usize {
        self.output.lock().lines.len()
    }

    /// The number of lines that contain a text.
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

    /// Waits for a line that contains a text, after the first `after` lines.
    ///
    /// # Errors
    /// The whole output, where it ends before or the wait times out.
    pub fn wait_for(&self, message: &str, after: usize) -> Result<(), String> {
        let end = Instant::now() + WAIT_TIMEOUT;
        let mut output = self.output.lock();
        loop {
            let mut lines = output.lines.iter().skip(after);
            if lines.any(|line| line.contains(message)) {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if output.ended || left.is_zero() {
                return Err(output.lines.join("\n"));
            }
            output = self.output.more.wait_timeout(output, left).unwrap().0;
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Kills it and its children.
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
    fn lock(&self) -> MutexGuard<'_, OutputState> {
        self.message.lock().unwrap()
    }

    fn read_lines(&self, source: impl Read) {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            self.lock().lines.push(line);
            self.more.notify_all();
        }
        self.lock().ended = true;
        self.more.notify_all();
    }

    fn read_all(&self, mut source: impl Read) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = source.read(&mut buffer) {
            self.lock().out.extend_from_slice(&buffer[..read]);
        }
    }
}

const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
