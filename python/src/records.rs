//! Records on their way to Python's `logging`. One thread of its own runs the handlers: they may take any time and any lock, also one
//! that a caller holds while it waits for the runtime.
use crate::process::{self, Inside};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) struct Record {
    /// Of the logger.
    pub(crate) name: String,
    /// That of `logging`.
    pub(crate) level: u8,
    pub(crate) text: String,
}

/// The records of one process.
#[derive(Default)]
pub(crate) struct Records {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Record>,
    /// The number of records that the full queue did not take, until that is logged.
    lost: usize,
    /// Whether a handler may be running.
    is_delivering: bool,
    /// While the process forks.
    is_paused: bool,
    has_thread: bool,
}

impl Records {
    /// Adds a record. It runs no Python code and waits for none.
    pub(crate) fn push(self: &Arc<Self>, record: Record) {
        let mut queue = self.queue();
        if queue.waiting.len() >= CAPACITY {
            queue.lost += 1;
            return;
        }
        queue.waiting.push_back(record);
        if !queue.has_thread {
            let records = Arc::clone(self);
            let thread = thread::Builder::new().name("keybound".to_owned());
            queue.has_thread = thread.spawn(move || records.run()).is_ok();
        }
        self.changed.notify_all();
    }

    /// Passes on what waits, until a time. Called when the interpreter ends, and the thread passes on no more.
    pub(crate) fn drain(&self, py: Python<'_>, end: Instant) {
        self.deliver(py, || Instant::now() >= end);
    }

    /// Waits until all records are passed on. False if that takes longer.
    pub(crate) fn wait_until_delivered(&self, timeout: Duration) -> bool {
        let is_busy = |queue: &mut Queue| queue.is_delivering || !queue.is_empty();
        let (_queue, waited) = self
            .changed
            .wait_timeout_while(self.queue(), timeout, is_busy)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Returns once no handler runs, or after a time. Later records wait for `resume`.
    fn pause(&self, timeout: Duration) {
        let mut queue = self.queue();
        queue.is_paused = true;
        let _ = self
            .changed
            .wait_timeout_while(queue, timeout, |queue| queue.is_delivering);
    }

    fn resume(&self) {
        self.queue().is_paused = false;
        self.changed.notify_all();
    }

    fn run(&self) {
        process::mark_worker();
        loop {
            self.wait_for_record();
            let Some(_inside) = Inside::enter() else {
                return;
            };
            // `None` while the interpreter ends.
            let is_attached = Python::try_attach(|py| {
                // An attached thread is a new one to `threading`.
                let _ = name_thread(py);
                self.deliver(py, process::is_ending);
            });
            if is_attached.is_none() {
                return;
            }
        }
    }

    fn wait_for_record(&self) {
        let _queue = self
            .changed
            .wait_while(self.queue(), |queue| queue.is_paused || queue.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn deliver(&self, py: Python<'_>, is_end: impl Fn() -> bool) {
        while !is_end()
            && let Some(record) = self.take()
        {
            // An error of a handler is reported by `logging`.
            let _ = log(py, record);
            self.queue().is_delivering = false;
            self.changed.notify_all();
        }
    }

    fn take(&self) -> Option<Record> {
        let mut queue = self.queue();
        if queue.is_paused {
            return None;
        }
        let record = queue.waiting.pop_front().or_else(|| queue.take_lost());
        queue.is_delivering = record.is_some();
        record
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0
    }

    fn take_lost(&mut self) -> Option<Record> {
        let lost = std::mem::take(&mut self.lost);
        (lost > 0).then(|| Record {
            name: "keybound".to_owned(),
            level: WARNING,
            text: format!("{lost} records are lost: the handlers of logging are too slow"),
        })
    }
}

/// Lets no handler run while the process forks: a child would wait for ever for the locks that the handler holds, such as that of a
/// file's buffer. Hooks run before those that were registered earlier: `logging` has locked its own lock in its hook, which a handler
/// may need, so `logging` is imported first.
pub(crate) fn install_fork_hooks(py: Python<'_>) -> PyResult<()> {
    let os = py.import("os")?;
    if !os.hasattr("register_at_fork")? {
        return Ok(());
    }
    let hooks = PyDict::new(py);
    hooks.set_item("before", wrap_pyfunction!(before_fork, py)?)?;
    hooks.set_item(
        "after_in_parent",
        wrap_pyfunction!(after_fork_in_parent, py)?,
    )?;
    os.call_method("register_at_fork", (), Some(&hooks))
        .map(drop)
}

#[pyfunction]
fn before_fork(py: Python<'_>) {
    // A handler that forks cannot wait for itself.
    if !process::is_worker() {
        let records = process::records();
        process::detached(py, || records.pause(PAUSE));
    }
}

#[pyfunction]
fn after_fork_in_parent() {
    process::records().resume();
}

/// The logger of a name.
pub(crate) fn logger<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import(intern!(py, "logging"))?
        .call_method1(intern!(py, "getLogger"), (name,))
}

fn log(py: Python<'_>, record: Record) -> PyResult<()> {
    // The text is an argument: it may contain percent signs.
    let arguments = (record.level, "%s", record.text);
    logger(py, &record.name)?
        .call_method1(intern!(py, "log"), arguments)
        .map(drop)
}

fn name_thread(py: Python<'_>) -> PyResult<()> {
    let thread = py.import("threading")?.call_method0("current_thread")?;
    thread.setattr("name", "keybound")
}

/// How long a fork waits for a handler, which may wait for a lock of the thread that forks.
const PAUSE: Duration = Duration::from_secs(1);
/// The level of `logging`.
pub(crate) const WARNING: u8 = 30;
/// In records: as many as some hundred acquisitions have at the level DEBUG.
const CAPACITY: usize = 1000;
