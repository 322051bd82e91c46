mod entry;
mod request_text;

pub(crate) use entry::Entry;

use crate::LoggedDecisions;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The log of decisions: one JSON object a line. Neither tokens nor what a token claims before it was verified are in it.
///
/// A thread writes it. If its reader is too slow, lines are dropped and counted, and a line says how many: requests do not wait.
#[derive(Clone)]
pub struct DecisionLog {
    decisions: LoggedDecisions,
    lines: Option<SyncSender<String>>,
    counts: Arc<Counts>,
    /// The number of lines that the thread has handled.
    handled: watch::Receiver<u64>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    dropped: AtomicU64,
}

impl DecisionLog {
    /// Writes to a file or a stream.
    ///
    /// # Errors
    /// If the thread cannot start.
    pub fn new(
        decisions: LoggedDecisions,
        output: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let thread = Builder::new().name("decision log".to_owned());
        Self::start(thread, decisions, output)
    }

    fn start(
        thread: Builder,
        decisions: LoggedDecisions,
        output: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, lines) = sync_channel(MAX_WAITING);
        let (handled, receiver) = watch::channel(0);
        let counts = Arc::<Counts>::default();
        let writer = Writer {
            output,
            lines,
            counts: Arc::clone(&counts),
            handled,
        };
        thread.spawn(move || writer.run())?;
        Ok(Self {
            decisions,
            lines: Some(sender),
            counts,
            handled: receiver,
        })
    }

    /// Logs nothing.
    pub fn none() -> Self {
        Self {
            decisions: LoggedDecisions::None,
            lines: None,
            counts: Arc::default(),
            handled: watch::channel(0).1,
        }
    }

    pub(crate) fn records(&self, denied: bool) -> bool {
        match self.decisions {
            LoggedDecisions::All => true,
            LoggedDecisions::Denied => denied,
            LoggedDecisions::None => false,
        }
    }

    /// Writes a line, or drops it.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        match serde_json::to_string(entry) {
            Ok(line) => self.write_line(line),
            Err(_) => self.count_dropped(),
        }
    }

    /// The number of lines that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Relaxed)
    }

    /// Waits until all lines are written, at most for this time. The number of those that are not.
    pub(crate) async fn flush(&self, limit: Duration) -> u64 {
        let accepted = self.counts.accepted.load(Relaxed);
        let mut handled = self.handled.clone();
        // After a timeout, or the end of the thread, the rest is counted.
        let _ = timeout(limit, handled.wait_for(|handled| *handled >= accepted)).await;
        accepted.saturating_sub(*self.handled.borrow())
    }

    fn write_line(&self, line: String) {
        let sent = self.lines.as_ref().map(|lines| lines.try_send(line + "\n"));
        match sent {
            Some(Ok(())) => {
                self.counts.accepted.fetch_add(1, Relaxed);
            }
            _ => self.count_dropped(),
        }
    }

    fn count_dropped(&self) {
        self.counts.dropped.fetch_add(1, Relaxed);
    }
}

impl fmt::Debug for DecisionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionLog")
            .field("decisions", &self.decisions)
            .finish_non_exhaustive()
    }
}

/// The thread that writes.
struct Writer<W> {
    output: W,
    lines: Receiver<String>,
    counts: Arc<Counts>,
    handled: watch::Sender<u64>,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        let mut reported = 0;
        while let Ok(mut text) = self.lines.recv() {
            let mut count = 1;
            while text.len() < MAX_BATCH
                && let Ok(line) = self.lines.try_recv()
            {
                text += &line;
                count += 1;
            }
            let dropped = self.counts.dropped.load(Relaxed);
            if dropped > reported {
                let (time, lines) = (entry::now(), dropped - reported);
                text += &serde_json::json!({ "time": time, "dropped": lines }).to_string();
                text.push('\n');
            }
            let written = self.output.write_all(text.as_bytes());
            match written.and_then(|()| self.output.flush()) {
                Ok(()) => reported = dropped,
                // A reader that has gone ends no requests.
                Err(_) => {
                    self.counts.dropped.fetch_add(count, Relaxed);
                }
            }
            self.handled.send_modify(|handled| *handled += count);
        }
    }
}

/// In lines.
const MAX_WAITING: usize = 4096;
/// In bytes: of what is written at once.
const MAX_BATCH: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    /// Writes to a text when it is allowed.
    struct Gate {
        waits: Sender<()>,
        open: Receiver<()>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The test may not look at it.
            let _ = self.waits.send(());
            // It remains open when the sender has gone.
            let _ = self.open.recv();
            let mut text = self.text.lock().unwrap();
            text.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Receives when it waits; it reads when the sender has gone.
    type Reader = (Receiver<()>, Sender<()>);

    /// A log, its reader, and what it has read.
    fn log() -> (DecisionLog, Reader, Arc<Mutex<String>>) {
        let (waits, waiting) = channel();
        let (sender, open) = channel();
        let text = Arc::default();
        let gate = Gate {
            waits,
            open,
            text: Arc::clone(&text),
        };
        let log = DecisionLog::new(LoggedDecisions::All, gate).unwrap();
        (log, (waiting, sender), text)
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(future)
    }

    #[test]
    fn lines_are_written_before_the_end() {
        let (log, gate, text) = log();
        for number in 0..100 {
            log.write_line(number.to_string());
        }
        // The reader does not read.
        assert_eq!(block_on(log.flush(Duration::ZERO)), 100);
        drop(gate);
        assert_eq!(block_on(log.flush(Duration::from_secs(60))), 0);
        let text = text.lock().unwrap();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn slow_reader_is_not_waited_for() {
        let (log, gate, text) = log();
        log.write_line("first".to_owned());
        gate.0.recv().unwrap();
        for _ in 0..MAX_WAITING + 100 {
            log.write_line("x".to_owned());
        }
        assert_eq!(log.dropped(), 100);
        drop(gate);
        assert_eq!(block_on(log.flush(Duration::from_secs(60))), 0);
        let text = text.lock().unwrap();
        assert_eq!(text.matches("\"dropped\":100,").count(), 1);
        let written = text.lines().filter(|line| *line == "x").count();
        assert_eq!(written, MAX_WAITING);
    }

    /// The daemon would run without its log.
    #[cfg(target_os = "linux")]
    #[test]
    fn thread_that_cannot_start_is_an_error() {
        let thread = Builder::new().stack_size(1 << 50);
        let log = DecisionLog::start(thread, LoggedDecisions::All, Vec::new());
        assert!(log.is_err(), "{log:?}");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = DecisionLog::new(LoggedDecisions::All, Closed).unwrap();
        for _ in 0..3 {
            log.write_line("x".to_owned());
            assert_eq!(block_on(log.flush(Duration::from_secs(60))), 0);
        }
        assert_eq!(log.dropped(), 3);
    }
}
