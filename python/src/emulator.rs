use crate::fork_bound::ForkBound;
use crate::process;
use keybound_emulator::{Config, Fault, FaultError, Source, StartError};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The simulated services.
#[pyclass(frozen, module = "keybound._native")]
pub(crate) struct Emulator(Mutex<ForkBound<Option<keybound_emulator::Emulator>>>);

#[pymethods]
impl Emulator {
    #[new]
    #[pyo3(signature = (config, state_dir, /))]
    fn new(py: Python<'_>, config: Option<&str>, state_dir: Option<PathBuf>) -> PyResult<Self> {
        let config = match config {
            Some(text) => Config::from_toml(text).map_err(|error| malformed(&error))?,
            None => Config::default(),
        };
        let mut builder = keybound_emulator::Emulator::builder().config(config);
        if let Some(directory) = state_dir {
            builder = builder.state_dir(directory);
        }
        let emulator = process::detached(py, || builder.start()).map_err(|error| match error {
            StartError::Config(error) => malformed(&error),
            error => PyOSError::new_err(with_causes(&error)),
        })?;
        Ok(Self(Mutex::new(ForkBound::new(Some(emulator)))))
    }

    /// The addresses, JSON.
    #[getter]
    fn ready(&self) -> PyResult<String> {
        self.with(|emulator| json(emulator.ready()))?
    }

    #[getter]
    fn ca_pem<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(|emulator| PyBytes::new(py, emulator.ca_pem()))
    }

    #[pyo3(signature = (source, /))]
    fn environment(&self, source: &str) -> PyResult<BTreeMap<&'static str, String>> {
        let source: Source = source.parse().map_err(|error| malformed(&error))?;
        self.with(|emulator| emulator.ready().environment(source))
    }

    #[pyo3(signature = (fault, /))]
    fn inject(&self, fault: &str) -> PyResult<()> {
        let fault: Fault = fault
            .parse()
            .map_err(|error: FaultError| malformed(&error))?;
        self.with(|emulator| emulator.inject(fault))?
            .map_err(|error| malformed(&error))
    }

    fn faults(&self) -> PyResult<Vec<String>> {
        self.with(|emulator| emulator.faults().iter().map(ToString::to_string).collect())
    }

    fn clear_faults(&self) -> PyResult<()> {
        self.with(keybound_emulator::Emulator::clear_faults)
    }

    /// The records, JSON.
    fn records(&self) -> PyResult<String> {
        self.with(|emulator| json(&emulator.records()))?
    }

    fn counts(&self) -> PyResult<BTreeMap<&'static str, u64>> {
        self.with(keybound_emulator::Emulator::counts)
    }

    #[pyo3(signature = (seconds, /))]
    fn advance_clock(&self, seconds: i64) -> PyResult<()> {
        self.with(|emulator| emulator.clock().advance(seconds))
    }

    fn reset(&self) -> PyResult<()> {
        self.with(keybound_emulator::Emulator::reset)
    }

    fn close(&self, py: Python<'_>) {
        let emulator = self.lock().of_this_process_mut().and_then(Option::take);
        process::detached(py, move || drop(emulator));
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(crate::error::cannot_be_pickled())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Its threads may wait for the interpreter, to log.
        let emulator = self.lock().of_this_process_mut().and_then(Option::take);
        if emulator.is_some() {
            Python::try_attach(|py| process::detached(py, move || drop(emulator)));
        }
    }
}

impl Emulator {
    /// Calls a function with the emulator.
    fn with<T>(&self, call: impl FnOnce(&keybound_emulator::Emulator) -> T) -> PyResult<T> {
        let mut place = self.lock();
        let emulator = place
            .of_this_process_mut()
            .ok_or("the emulator is that of the parent process")
            .and_then(|emulator| emulator.as_ref().ok_or("the emulator is closed"));
        emulator.map(call).map_err(PyRuntimeError::new_err)
    }

    fn lock(&self) -> MutexGuard<'_, ForkBound<Option<keybound_emulator::Emulator>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

fn malformed(error: &dyn Error) -> PyErr {
    PyValueError::new_err(with_causes(error))
}

fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
