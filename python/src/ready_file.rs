use crate::fork_bound::ForkBound;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file of the emulator's `--ready-file`.
#[pyclass(frozen, module = "keybound._native")]
pub(crate) struct ReadyFile {
    /// The path in the option.
    option: PathBuf,
    file: Mutex<ForkBound<Option<keybound_emulator::ReadyFile>>>,
}

#[pymethods]
impl ReadyFile {
    #[new]
    #[pyo3(signature = (path, /))]
    fn new(path: PathBuf) -> PyResult<Self> {
        let file = keybound_emulator::ReadyFile::prepare(&path)
            .map_err(|error| PyValueError::new_err(failed(&path, &error)))?;
        Ok(Self {
            option: path,
            file: Mutex::new(ForkBound::new(Some(file))),
        })
    }

    #[pyo3(signature = (line, /))]
    fn write(&self, line: &str) -> PyResult<()> {
        let option = self.option.clone();
        let report = move |error| tracing::error!(target: "keybound::emulator", "{}", failed(&option, &error));
        let mut place = self.lock();
        let file = place.of_this_process_mut().and_then(Option::as_mut);
        file.map_or(Ok(()), |file| file.write(line, report))
            .map_err(|error| PyOSError::new_err(failed(&self.option, &error)))
    }

    /// Removes the file, unless another emulator has replaced it.
    fn close(&self) {
        drop(self.lock().of_this_process_mut().and_then(Option::take));
    }
}

impl ReadyFile {
    fn lock(&self) -> MutexGuard<'_, ForkBound<Option<keybound_emulator::ReadyFile>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("--ready-file {}: {error}", path.display())
}
