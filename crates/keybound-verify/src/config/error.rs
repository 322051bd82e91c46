use keybound_core::printable;
use std::io;
use std::path::Path;

/// Why a configuration is not usable. The message names the place, and contains no control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// An error with a message.
    pub(crate) fn new(message: impl AsRef<str>) -> Self {
        Self(printable(message.as_ref(), MAX_MESSAGE))
    }

    /// The file cannot be read.
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::new(format!("{}: {error}", path.display()))
    }

    /// An error of the syntax of a text, with its line.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().and_then(|span| {
            let before = text.get(..span.start)?;
            Some(before.matches('\n').count() + 1)
        });
        match line {
            Some(line) => Self::new(format!("line {line}: {}", error.message())),
            None => Self::new(error.message()),
        }
    }
}

const MAX_MESSAGE: usize = 1024;
