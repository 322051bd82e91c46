//! A server as an ordinary process: its words are heard, and it ends with the value.
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
    said: Arc<Said>,
}

/// What a process has said so far.
#[derive(Default)]
struct Said {
    words: Mutex<Words>,
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
        let said = Arc::<Said>::default();
        let (errors, out) = (child.stderr.take().unwrap(), child.stdout.take().unwrap());
        let (ear, other_ear) = (Arc::clone(&said), Arc::clone(&said));
        std::thread::spawn(move || ear.hear_lines(errors));
        std::thread::spawn(move || other_ear.hear(out));
        Self {
            pid: Pid::from_child(&child),
            child,
            said,
        }
    }

    /// Its standard input, once.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// How many lines of its standard error output it has said so far.
    pub fn lines(&self) -> usize {
        self.said.lock().lines.len()
    }

    /// How many lines with those words it has said.
    pub fn count(&self, words: &str) -> usize {
        let said = self.said.lock();
        said.lines
            .iter()
            .filter(|line| line.contains(words))
            .count()
    }

    /// Its standard output so far.
    pub fn out(&self) -> Vec<u8> {
        self.said.lock().out.clone()
    }

    /// Waits until it says a line with those words, after the first so many lines.
    ///
    /// # Errors
    /// Everything that it said, where it ends before or takes far too long.
    pub fn wait_for(&self, words: &str, after: usize) -> Result<(), String> {
        let end = Instant::now() + FAR_TOO_LONG;
        let mut said = self.said.lock();
        loop {
            let mut lines = said.lines.iter().skip(after);
            if lines.any(|line| line.contains(words)) {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if said.over || left.is_zero() {
                return Err(said.lines.join("\n"));
            }
            said = self.said.more.wait_timeout(said, left).unwrap().0;
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

impl Said {
    fn lock(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap()
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
