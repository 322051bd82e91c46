use super::place::{Place, line_of};
use super::syntax;
use keybound_core::printable;
use std::io;
use std::path::Path;

/// Why a configuration is not usable. The message names the place, and contains no control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
    /// As long as its line is not in the message.
    place: Option<Place>,
}

impl ConfigError {
    /// An error with a message.
    pub(crate) fn new(message: impl AsRef<str>) -> Self {
        Self {
            message: printable(message.as_ref(), MAX_MESSAGE),
            place: None,
        }
    }

    /// An error of a setting, such as `api.0.tenants.1`.
    pub(super) fn at(path: &str, message: impl AsRef<str>) -> Self {
        Self {
            place: Some(Place::new(path)),
            ..Self::new(message)
        }
    }

    /// In this setting, if it names none.
    pub(super) fn placed(self, path: &str) -> Self {
        let place = self.place.or_else(|| Some(Place::new(path)));
        Self { place, ..self }
    }

    /// The file cannot be read.
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::new(error.to_string()).in_file(path)
    }

    /// An error of the syntax of a text, with its line and setting.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map(|span| span.start);
        let place = start.and_then(|start| Place::of_position(text, start));
        let message = syntax::plain(error.message(), place.as_ref());
        // What is missing in the whole text is in no line.
        let is_root = place.is_some_and(|place| place.is_root());
        let line = start.filter(|_| !is_root || !error.message().starts_with(syntax::MISSING));
        match line.and_then(|start| line_of(text, start)) {
            Some(line) => Self::new(format!("line {line}: {message}")),
            None => Self::new(message),
        }
    }

    /// With the line of its setting.
    pub(super) fn in_text(self, text: &str) -> Self {
        match self.place.as_ref().and_then(|place| place.line(text)) {
            Some(line) => Self::new(format!("line {line}: {}", self.message)),
            None => self,
        }
    }

    /// With the name of the file.
    pub(super) fn in_file(self, path: &Path) -> Self {
        Self::new(format!("{}: {}", path.display(), self.message))
    }
}

const MAX_MESSAGE: usize = 1024;
