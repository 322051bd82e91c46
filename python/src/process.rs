//! The runtime of this process. A child has none of its parent's threads: it starts a runtime of its own.
use arc_swap::ArcSwap;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::cell::Cell;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

static PROCESS: LazyLock<ArcSwap<Process>> = LazyLock::new(ArcSwap::default);
static GENERATION: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// No lock of it is held while another thread forks: a child replaces it before it uses it.
#[derive(Default)]
struct Process {
    handle: OnceLock<Option<Handle>>,
    runtime: Mutex<Option<Runtime>>,
}

/// The number of forks between the process that loaded the module and this one.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// The runtime, which is started by the first call.
///
/// # Errors
/// `RuntimeError` if the host has no more threads or file descriptors.
pub(crate) fn runtime() -> PyResult<Handle> {
    let process = PROCESS.load();
    let handle = process.handle.get_or_init(|| process.start());
    handle
        .clone()
        .ok_or_else(|| PyRuntimeError::new_err("the host has no more threads or file descriptors"))
}

/// Whether this thread is one of the runtime's, which runs a handler of Python's `logging`.
pub(crate) fn is_worker() -> bool {
    IS_WORKER.get()
}

/// Called in a child, by the only thread that it has.
#[pyfunction]
pub(crate) fn after_fork() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // Dropped, it would wait for threads that the child does not have.
    mem::forget(PROCESS.swap(Arc::default()));
}

/// Ends all work, before the interpreter ends. Later calls fail.
#[pyfunction]
pub(crate) fn shut_down(py: Python<'_>) {
    let process = PROCESS.load_full();
    py.detach(|| {
        let runtime = process
            .runtime
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(END);
        }
    });
}

impl Process {
    fn start(&self) -> Option<Handle> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("keybound")
            .on_thread_start(|| IS_WORKER.set(true))
            .enable_all()
            .build()
            .ok()?;
        let handle = runtime.handle().clone();
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
        Some(handle)
    }
}

/// One can be busy with a signature.
const WORKERS: usize = 2;
/// The creation of a key takes up to a second.
const END: Duration = Duration::from_secs(1);
