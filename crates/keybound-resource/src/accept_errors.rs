//! Errors of listeners. Not part of the API.
use crate::warning_limit::WarningLimit;
use std::io::{Error, ErrorKind};

/// The errors of a listener, which can occur as often as peers connect.
#[derive(Debug, Default)]
pub struct AcceptErrors(WarningLimit);

/// What a server does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "not part of the API")]
pub enum AfterError {
    /// Accepts the next connection: this one has ended.
    Accept,
    /// Closes a connection that is not used, since no more files can be opened.
    Close,
    /// Waits.
    Wait,
}

impl AcceptErrors {
    /// Warns once a minute at most.
    pub fn report(&self, error: &Error) -> AfterError {
        if matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
        ) {
            return AfterError::Accept;
        }
        if let Some(errors) = self.0.count() {
            tracing::warn!(%error, errors, "connections could not be accepted; this is the last error");
        }
        match error.raw_os_error() {
            Some(code) if TOO_MANY_FILES.contains(&code) => AfterError::Close,
            _ => AfterError::Wait,
        }
    }
}

/// Of this process, and of the host.
#[cfg(unix)]
const TOO_MANY_FILES: [i32; 2] = [
    rustix::io::Errno::MFILE.raw_os_error(),
    rustix::io::Errno::NFILE.raw_os_error(),
];
/// `WSAEMFILE`.
#[cfg(not(unix))]
const TOO_MANY_FILES: [i32; 1] = [10_024];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_closed_for_files_only() {
        for (error, expected) in [
            (
                Error::from_raw_os_error(TOO_MANY_FILES[0]),
                AfterError::Close,
            ),
            (ErrorKind::ConnectionAborted.into(), AfterError::Accept),
            (ErrorKind::OutOfMemory.into(), AfterError::Wait),
        ] {
            assert_eq!(AcceptErrors::default().report(&error), expected, "{error}");
        }
    }
}
