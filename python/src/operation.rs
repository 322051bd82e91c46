use crate::log;
use crate::process::{self, Inside};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{intern, types::PyAny};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;

/// Work on the runtime. One caller waits for its result or awaits it.
#[pyclass(frozen, module = "keybound._native")]
pub(crate) struct Operation {
    progress: Arc<Progress>,
    task: AbortHandle,
}

/// Converts a result, with the interpreter.
type Outcome = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Running,
    /// A future of asyncio is settled in its event loop.
    Awaited {
        event_loop: Py<PyAny>,
        future: Py<PyAny>,
    },
    Done(Outcome),
    Taken,
}

impl Operation {
    /// Starts work. `convert` makes the result of the call from that of the work.
    ///
    /// # Errors
    /// `RuntimeError` if there is no runtime, or this thread is one of it.
    pub(crate) fn start<T: Send + 'static>(
        py: Python<'_>,
        work: impl Future<Output = T> + Send + 'static,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Self> {
        if process::is_worker() {
            return Err(PyRuntimeError::new_err(
                "a handler of logging must not call keybound while it handles a record of keybound",
            ));
        }
        log::update_level(py);
        let progress = Arc::<Progress>::default();
        let completion = Completion(Some(Arc::clone(&progress)));
        let task = process::runtime()?.spawn(async move {
            let result = work.await;
            completion.finish(Box::new(move |py| convert(py, result)));
        });
        Ok(Self {
            progress,
            task: task.abort_handle(),
        })
    }
}

#[pymethods]
impl Operation {
    /// Waits for the result. Signals are handled meanwhile; an exception of their handlers cancels the work.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        loop {
            if let Some(outcome) = process::detached(py, || self.progress.wait()) {
                return outcome(py);
            }
            if let Err(interrupted) = py.check_signals() {
                self.task.abort();
                return Err(interrupted);
            }
        }
    }

    /// A future of the running event loop. Cancelling it cancels the work.
    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let _inside = Inside::enter_python()?;
        let event_loop = py
            .import(intern!(py, "asyncio"))?
            .call_method0(intern!(py, "get_running_loop"))?;
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        let canceller = Canceller(self.task.clone());
        future.call_method1(intern!(py, "add_done_callback"), (canceller,))?;
        if let Some(outcome) = self.progress.take_or_await(&event_loop, &future) {
            settle(py, &future, outcome)?;
        }
        future.call_method0(intern!(py, "__await__"))
    }

    #[classmethod]
    #[pyo3(signature = (item, /))]
    fn __class_getitem__<'py>(
        class: &Bound<'py, pyo3::types::PyType>,
        item: &Bound<'py, PyAny>,
    ) -> Bound<'py, PyAny> {
        let _ = item;
        class.clone().into_any()
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // One that is awaited is dropped as soon as its future exists.
        if matches!(*self.progress.state(), State::Running) {
            self.task.abort();
        }
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the work is done or signals must be looked at.
    fn wait(&self) -> Option<Outcome> {
        let state = self.state();
        let (mut state, _) = self
            .done
            .wait_timeout_while(state, SIGNAL_INTERVAL, |state| {
                matches!(state, State::Running)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *state, State::Taken) {
            State::Done(outcome) => Some(outcome),
            State::Running => {
                *state = State::Running;
                None
            }
            State::Awaited { .. } | State::Taken => Some(ended("the result was taken before")),
        }
    }

    /// The result if the work is done; otherwise the future receives it.
    fn take_or_await(
        &self,
        event_loop: &Bound<'_, PyAny>,
        future: &Bound<'_, PyAny>,
    ) -> Option<Outcome> {
        let mut state = self.state();
        match mem::replace(&mut *state, State::Taken) {
            State::Done(outcome) => Some(outcome),
            State::Running => {
                *state = State::Awaited {
                    event_loop: event_loop.clone().unbind(),
                    future: future.clone().unbind(),
                };
                None
            }
            State::Awaited { .. } | State::Taken => Some(ended("the result was taken before")),
        }
    }

    fn finish(&self, outcome: Outcome) {
        let mut state = self.state();
        match mem::replace(&mut *state, State::Taken) {
            State::Awaited { event_loop, future } => {
                drop(state);
                let Some(_inside) = Inside::enter() else {
                    return;
                };
                // `None` while the interpreter ends; an error if the event loop is closed.
                let _ = Python::try_attach(|py| {
                    let settlement = Settlement {
                        future,
                        outcome: Mutex::new(Some(outcome)),
                    };
                    let name = intern!(py, "call_soon_threadsafe");
                    event_loop
                        .bind(py)
                        .call_method1(name, (settlement,))
                        .map(drop)
                });
            }
            _ => {
                *state = State::Done(outcome);
                // The thread that wakes up needs the lock.
                drop(state);
                self.done.notify_all();
            }
        }
    }
}

/// Ends the operation, also if its task is cancelled or panics.
struct Completion(Option<Arc<Progress>>);

impl Completion {
    fn finish(mut self, outcome: Outcome) {
        if let Some(progress) = self.0.take() {
            progress.finish(outcome);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(progress) = self.0.take() {
            progress.finish(ended(
                "the work was cancelled, as its caller or the interpreter ends",
            ));
        }
    }
}

fn ended(message: &'static str) -> Outcome {
    Box::new(move |_| Err(PyRuntimeError::new_err(message)))
}

fn settle(py: Python<'_>, future: &Bound<'_, PyAny>, outcome: Outcome) -> PyResult<()> {
    if future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    match outcome(py) {
        Ok(value) => future.call_method1(intern!(py, "set_result"), (value,)),
        Err(error) => future.call_method1(intern!(py, "set_exception"), (error,)),
    }
    .map(drop)
}

/// Settles a future, called by its event loop.
#[pyclass(frozen, module = "keybound._native")]
struct Settlement {
    future: Py<PyAny>,
    outcome: Mutex<Option<Outcome>>,
}

#[pymethods]
impl Settlement {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let outcome = self
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        outcome.map_or(Ok(()), |outcome| settle(py, self.future.bind(py), outcome))
    }
}

/// Called when a future is done: for one that was cancelled, the work ends.
#[pyclass(frozen, module = "keybound._native")]
struct Canceller(AbortHandle);

#[pymethods]
impl Canceller {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        self.0.abort();
    }
}

/// How soon Ctrl-C takes effect.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);
