use keybound_core::printable;

/// Why a configuration is not usable. The message names the place, and contains no control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// An error with a message.
    pub(crate) fn new(message: impl AsRef<str>) -> Self {
        Self(printable(message.as_ref(), MAX_MESSAGE))
    }

    /// An error of the syntax, with its line.
    pub(super) fn syntax(error: toml::de::Error) -> Self {
        let text = error.to_string();
        let lines = text.lines().map(str::trim_end);
        Self::new(lines.collect::<Vec<_>>().join(" "))
    }
}

const MAX_MESSAGE: usize = 1024;
