use crate::failure::Failure;
use crate::out;
use crate::text::printable_line;
use std::io;
use std::path::{Path, PathBuf};

/// The file of `--ready-file`.
pub(super) struct ReadyFile {
    /// The path in the option.
    option: PathBuf,
    file: keybound_emulator::ReadyFile,
}

impl ReadyFile {
    /// Resolves the path, and removes the file of an earlier emulator.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the path cannot be written to, or is a file with other data than a ready line.
    pub(super) fn prepare(path: &Path) -> Result<Self, Failure> {
        let file = keybound_emulator::ReadyFile::prepare(path)
            .map_err(|error| Failure::Usage(failed(path, &error)))?;
        Ok(Self {
            option: path.to_owned(),
            file,
        })
    }

    /// Writes the line.
    ///
    /// # Errors
    /// [`Failure::Host`], with the name of the file.
    pub(super) fn write(&mut self, line: &str) -> Result<(), Failure> {
        let option = self.option.clone();
        let report = move |error| out::log(&format!("error: {}", failed(&option, &error)));
        self.file
            .write(line, report)
            .map_err(|error| Failure::Host(failed(&self.option, &error)))
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!(
        "--ready-file {}: {error}",
        printable_line(&path.to_string_lossy())
    )
}
