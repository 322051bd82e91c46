//! Events of the crates, passed to Python's `logging`. The name of a logger is the target of the event with dots in place of colons.
use crate::process::{self, Inside};
use crate::records::{self, Record, WARNING, logger};
use crate::time;
use pyo3::prelude::*;
use pyo3::{intern, sync::PyOnceLock};
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use tracing::field::{Field, Visit};
use tracing::span::{self, Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};

/// The level of the logger `keybound` when it was last looked up. Events below it cost no interpreter.
static LEVEL: AtomicU8 = AtomicU8::new(WARNING);

/// Receives the events of this library. A second interpreter of the process shares it.
pub(crate) fn install() {
    let _ = tracing::subscriber::set_global_default(Logging);
}

/// Looks up the level. Called where work starts, for which the interpreter is held anyway.
pub(crate) fn update_level(py: Python<'_>) {
    static ROOT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let Some(_inside) = Inside::enter() else {
        return;
    };
    let level = ROOT
        .get_or_try_init(py, || root_logger(py))
        .and_then(|root| {
            root.bind(py)
                .call_method0(intern!(py, "getEffectiveLevel"))?
                .extract::<u32>()
        });
    let level = level.map_or(WARNING, |level| u8::try_from(level).unwrap_or(u8::MAX));
    if LEVEL.swap(level, Ordering::Relaxed) != level {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// With a handler that writes nothing: without one `logging` writes warnings to stderr, which is for the program to decide.
fn root_logger(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let root = logger(py, "keybound")?;
    let handler = py.import("logging")?.call_method0("NullHandler")?;
    root.call_method1("addHandler", (handler,))?;
    records::install_fork_hooks(py)?;
    Ok(root.unbind())
}

/// Waits until the handlers have received all records; for tests.
#[pyfunction]
#[pyo3(signature = (timeout, /))]
pub(crate) fn wait_for_records(py: Python<'_>, timeout: f64) -> PyResult<bool> {
    let timeout = time::timeout(py, timeout)?;
    let records = process::records();
    Ok(process::detached(py, || {
        records.wait_until_delivered(timeout)
    }))
}

struct Logging;

impl Subscriber for Logging {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && metadata.target().starts_with("keybound")
            && number(metadata.level()) >= LEVEL.load(Ordering::Relaxed)
    }

    fn event(&self, event: &Event<'_>) {
        if process::is_ending() {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        process::records().push(Record {
            name: event.metadata().target().replace("::", "."),
            level: number(event.metadata().level()),
            text: text.message + &text.fields,
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// The level of `logging`.
fn number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 40,
        Level::WARN => WARNING,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}
