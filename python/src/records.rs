//! Records on their way to Python's `logging`. One thread of its own runs the handlers: they may take any time and any lock, also one
//! that a caller holds while it waits for the runtime.
use crate::process::{self, Inside};
use pyo3::intern;
use pyo3::prelude::*;
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
            .wait_while(self.queue(), |queue| queue.is_empty())
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

/// The level of `logging`.
pub(crate) const WARNING: u8 = 30;
/// In records: as many as some hundred acquisitions have at the level DEBUG.
const CAPACITY: usize = 1000;
