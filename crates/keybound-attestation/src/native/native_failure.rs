use super::NativeCode;
use keybound_core::{Error, ErrorKind, Stage, printable};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The failure of an attestation: the [`source`](std::error::Error::source) of the error of
/// [`attest`](crate::AttestationProvider::attest).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NativeFailure {
    /// The platform is not Windows.
    #[error("attestation is for KeyGuard keys on Windows, and this is another platform")]
    NotWindows,
    /// The key is not a KeyGuard key.
    #[error("only KeyGuard keys can be attested, and this is another key")]
    KeyNotAttestable,
    /// The library does not exist in any location.
    #[error("AttestationClientLib.dll is in none of these places: {}", join(.0))]
    NotFound(Vec<PathBuf>),
    /// The configured path is not allowed.
    #[error("the path {path} is not used: {reason}", path = printable_path(path))]
    PathRejected {
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
    },
    /// The file cannot be read.
    #[error("{path} cannot be read", path = printable_path(path))]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The error of Windows.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The file's signature is not Microsoft's, or is invalid.
    #[error("{path} is not used: {reason}", path = printable_path(path))]
    SignatureRejected {
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: Cow<'static, str>,
    },
    /// The file's SHA-256 is not the pinned one.
    #[error("{path} is not used: its SHA-256 is not the pinned one", path = printable_path(path))]
    HashMismatch {
        /// The path.
        path: PathBuf,
    },
    /// The file could not be loaded.
    #[error("{path} could not be loaded: {reason}", path = printable_path(path))]
    LoadFailed {
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
        /// The error of Windows.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The library lacks a required function.
    #[error("{path} is not used: it does not export {name}", path = printable_path(path))]
    ExportMissing {
        /// The path.
        path: PathBuf,
        /// The function.
        name: &'static str,
    },
    /// The library did not start (`InitAttestationLib`).
    #[error("the attestation library did not start: {0}, {meaning}", meaning = .0.meaning())]
    StartFailed(NativeCode),
    /// The library returned an error code (`AttestKeyGuardImportKey`).
    #[error("the attestation library returned {0}: {meaning}", meaning = .0.meaning())]
    LibraryFailed(NativeCode),
    /// The library returned success without a usable token.
    #[error("the attestation library returned success, but {0}")]
    NoToken(&'static str),
    /// The library could not be called, or did not return.
    #[error("{0}")]
    CallFailed(&'static str),
}

impl NativeFailure {
    /// The library's code, if it returned one.
    pub fn code(&self) -> Option<NativeCode> {
        match self {
            Self::StartFailed(code) | Self::LibraryFailed(code) => Some(*code),
            _ => None,
        }
    }

    /// The next step, if it differs from that of the kind.
    fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::NotWindows => Some(
                "run on a Windows VM with Trusted Launch, or request a token without attestation if the service allows it",
            ),
            Self::NotFound(_) => Some(
                "put AttestationClientLib.dll beside the program or name it in ATTESTATION_CLIENTLIB_PATH; docs/attestation.md describes how to get it",
            ),
            _ => self.code().map(NativeCode::next_step),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotWindows | Self::KeyNotAttestable | Self::NotFound(_) => {
                ErrorKind::AttestationUnavailable
            }
            Self::PathRejected { .. }
            | Self::Unreadable { .. }
            | Self::SignatureRejected { .. }
            | Self::HashMismatch { .. }
            | Self::LoadFailed { .. }
            | Self::ExportMissing { .. } => ErrorKind::AttestationLibraryUnusable,
            Self::StartFailed(_)
            | Self::LibraryFailed(_)
            | Self::NoToken(_)
            | Self::CallFailed(_) => ErrorKind::AttestationFailed,
        }
    }
}

impl From<NativeFailure> for Error {
    fn from(failure: NativeFailure) -> Self {
        let message = match failure.kind() {
            ErrorKind::AttestationUnavailable => "the binding key cannot be attested here",
            ErrorKind::AttestationLibraryUnusable => "the attestation library is not used",
            _ => "the attestation failed",
        };
        let retryable = failure.code().is_some_and(NativeCode::is_transient);
        let error =
            Self::new(failure.kind(), Stage::Attestation, message).with_retryable(retryable);
        let error = match failure.next_step() {
            Some(next_step) => error.with_next_step(next_step),
            None => error,
        };
        error.with_source(failure)
    }
}

fn join(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| printable_path(path)).collect();
    paths.join(", ")
}

/// Printable, without the verbatim prefix.
fn printable_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.strip_prefix(r"\\?\").unwrap_or(&text);
    format!("'{}'", printable(text, MAX_PATH))
}

/// In characters.
const MAX_PATH: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn errors_have_number_name_and_next_step_of_code() {
        for code in NativeCode::known() {
            let error = Error::from(NativeFailure::LibraryFailed(code));
            assert_eq!(error.kind(), ErrorKind::AttestationFailed);
            assert_eq!(error.stage(), Stage::Attestation);
            assert_eq!(error.is_retryable(), code.is_transient());
            assert_eq!(error.next_step(), code.next_step());
            let failure = error.source().unwrap();
            let failure = failure.downcast_ref::<NativeFailure>().unwrap();
            assert_eq!(failure.code(), Some(code));
            let text = failure.to_string();
            assert!(text.contains(&code.number().to_string()), "{text}");
            assert!(text.contains(code.name()), "{text}");
        }
    }

    #[test]
    fn distinguishes_missing_and_unusable_libraries() {
        let path = PathBuf::from("C:\\x.dll");
        let missing = Error::from(NativeFailure::NotFound(vec![path.clone()]));
        assert_eq!(missing.kind(), ErrorKind::AttestationUnavailable);
        let unusable = Error::from(NativeFailure::HashMismatch { path });
        assert_eq!(unusable.kind(), ErrorKind::AttestationLibraryUnusable);
        assert!(!missing.is_retryable() && !unusable.is_retryable());
        let text = missing.source().unwrap().to_string();
        assert!(text.ends_with(r"places: 'C:\x.dll'"), "{text}");
        let hostile = NativeFailure::HashMismatch {
            path: PathBuf::from("\\\\?\\C:\\a\u{1b}[2J\n.dll"),
        };
        let text = hostile.to_string();
        assert!(
            text.starts_with(r"'C:\a") && !text.contains(['\u{1b}', '\n']),
            "{text:?}"
        );
    }
}
