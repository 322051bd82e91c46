//! The runtime of this process. A child has none of its parent's threads: it starts a runtime of its own.
use crate::interpreter;
use crate::records::Records;
use arc_swap::ArcSwap;
use pyo3::exceptions::{PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use std::cell::Cell;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};

static PROCESS: LazyLock<ArcSwap<Process>> = LazyLock::new(ArcSwap::default);
static GENERATION: AtomicU64 = AtomicU64::new(0);

static ENDING: AtomicBool = AtomicBool::new(false);
/// The number of threads that wait for the interpreter, or run Python code, inside of this library.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    /// Whether this is the thread that ends the interpreter.
    static IS_ENDING: Cell<bool> = const { Cell::new(false) };
}

/// No lock of it is held while another thread forks: a child replaces it before it uses it.
#[derive(Default)]
struct Process {
    handle: OnceLock<Result<Handle, &'static str>>,
    runtime: Mutex<Option<Runtime>>,
    records: Arc<Records>,
}

/// The number of forks between the process that loaded the module and this one.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// The runtime, which is started by the first call.
///
/// # Errors
/// `RuntimeError` if the host has no more threads or file descriptors, or the interpreter ends; see [`interpreter_ends`].
pub(crate) fn runtime() -> PyResult<Handle> {
    let process = PROCESS.load();
    let handle = process.handle.get_or_init(|| process.start());
    handle.clone().map_err(|message| {
        if message == ENDS {
            interpreter_ends()
        } else {
            PyRuntimeError::new_err(message)
        }
    })
}

/// The exception of calls while the interpreter ends. In another thread than the one that ends it, which is a daemon thread, it is
/// `SystemExit`: Python then ends the thread without a traceback.
fn interpreter_ends() -> PyErr {
    if IS_ENDING.get() {
        PyRuntimeError::new_err(ENDS)
    } else {
        PySystemExit::new_err(ENDS)
    }
}

/// The records for Python's `logging`.
pub(crate) fn records() -> Arc<Records> {
    Arc::clone(&PROCESS.load().records)
}

/// Whether this thread is one of the runtime's, or the one that runs the handlers of Python's `logging`.
pub(crate) fn is_worker() -> bool {
    IS_WORKER.get()
}

/// This thread must not wait for the runtime.
pub(crate) fn mark_worker() {
    IS_WORKER.set(true);
}

/// Runs a function without the interpreter. If the interpreter ends meanwhile, a thread that is not the main one does not return:
/// it would be ended in the middle of this library, which aborts the process before Python 3.14.
pub(crate) fn detached<T: Send>(py: Python<'_>, function: impl FnOnce() -> T + Send) -> T {
    let (value, _inside) = py.detach(|| {
        let value = function();
        match Inside::enter() {
            Some(inside) => (value, inside),
            None => loop {
                thread::park();
            },
        }
    });
    value
}

/// A section in which a thread may wait for the interpreter, or switch to another one, inside of this library. The end of the
/// interpreter waits for it.
pub(crate) struct Inside(());

impl Inside {
    /// `None` if the interpreter ends.
    pub(crate) fn enter() -> Option<Self> {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        let inside = Self(());
        (!is_ending() || IS_ENDING.get()).then_some(inside)
    }

    /// For functions that run Python code.
    ///
    /// # Errors
    /// `SystemExit` if the interpreter ends.
    pub(crate) fn enter_python() -> PyResult<Self> {
        Self::enter().ok_or_else(interpreter_ends)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether the interpreter ends.
pub(crate) fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Called in a child, by the only thread that it has.
#[pyfunction]
pub(crate) fn after_fork() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    INSIDE.store(0, Ordering::SeqCst);
    // Dropped, it would wait for threads that the child does not have.
    mem::forget(PROCESS.swap(Arc::default()));
}

/// Ends all work, before the interpreter ends. Later calls fail.
#[pyfunction]
pub(crate) fn shut_down(py: Python<'_>) {
    let process = PROCESS.load_full();
    // If none was started, none is.
    let _ = process.handle.get_or_init(|| Err(ENDS));
    interpreter::end();
    IS_ENDING.set(true);
    ENDING.store(true, Ordering::SeqCst);
    let is_quiet = py.detach(|| {
        let runtime = process
            .runtime
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(END);
        }
        // They leave before they notice.
        let started = Instant::now();
        while INSIDE.load(Ordering::SeqCst) > 0 && started.elapsed() < END {
            thread::sleep(Duration::from_millis(1));
        }
        INSIDE.load(Ordering::SeqCst) == 0
    });
    // Otherwise a handler may hold a lock for ever.
    if is_quiet {
        process.records.drain(py, Instant::now() + END);
    }
}

impl Process {
    fn start(&self) -> Result<Handle, &'static str> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("keybound")
            .on_thread_start(mark_worker)
            .enable_all()
            .build()
            .map_err(|_| "the host has no more threads or file descriptors")?;
        let handle = runtime.handle().clone();
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
        Ok(handle)
    }
}

const ENDS: &str = "the interpreter ends";
/// A second one is woken with the first and finds nothing to do, which takes half of the time of a call. On Windows another process
/// or the TPM signs in handshakes, and a worker waits for it.
const WORKERS: usize = if cfg!(windows) { 2 } else { 1 };
/// The creation of a key takes up to a second.
const END: Duration = Duration::from_secs(1);
