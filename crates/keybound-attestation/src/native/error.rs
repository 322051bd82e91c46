use super::NativeCode;
use keybound_core::{Error, ErrorKind, Stage, printable};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the native library attested nothing. It is the [`source`](std::error::Error::source) of the error that
/// [`attest`](crate::AttestationProvider::attest) ends with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NativeFailure {
    /// The library is for Windows.
    #[error("attestation is for KeyGuard keys on Windows, and this is another platform")]
    NotWindows,
    /// The key is no KeyGuard key in Windows CNG.
    #[error("only KeyGuard keys can be attested, and this key is none")]
    KeyNotAttestable,
    /// The library is in none of the places where it may be.
    #[error("AttestationClientLib.dll is in none of these places: {}", listed(.0))]
    NotFound(Vec<PathBuf>),
    /// The path that was named must not be used.
    #[error("the path {path} is not used: {reason}", path = shown(path))]
    PathRefused {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The file is there and cannot be read.
    #[error("{path} cannot be read", path = shown(path))]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What Windows says.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The file's signature is not Microsoft's, or does not hold.
    #[error("{path} is not used: {reason}", path = shown(path))]
    SignatureRefused {
        /// The path.
        path: PathBuf,
        /// What is wrong with the signature.
        reason: Cow<'static, str>,
    },
    /// The file is not the one whose SHA-256 was pinned.
    #[error("{path} is not used: its SHA-256 is not the one that was pinned", path = shown(path))]
    NotAsPinned {
        /// The path.
        path: PathBuf,
    },
    /// Windows did not load the file.
    #[error("{path} could not be loaded: {reason}", path = shown(path))]
    NotLoadable {
        /// The path.
        path: PathBuf,
        /// What it means.
        reason: &'static str,
        /// What Windows says.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The file is a library without the functions asked for.
    #[error("{path} is not used: it does not export {name}", path = shown(path))]
    ExportMissing {
        /// The path.
        path: PathBuf,
        /// The function.
        name: &'static str,
    },
    /// The library did not start (`InitAttestationLib`).
    #[error("the attestation library did not start: {0}, {meaning}", meaning = .0.meaning())]
    NotStarted(NativeCode),
    /// The library answered a failure (`AttestKeyGuardImportKey`).
    #[error("the attestation library answered {0}: {meaning}", meaning = .0.meaning())]
    Answered(NativeCode),
    /// The library claimed success without a token that can be used.
    #[error("the attestation library claimed success, and {0}")]
    NoToken(&'static str),
    /// The call could not be made, or ended without an answer.
    #[error("{0}")]
    NotCalled(&'static str),
}

impl NativeFailure {
    /// The library's code, where it gave one.
    pub fn code(&self) -> Option<NativeCode> {
        match self {
            Self::NotStarted(code) | Self::Answered(code) => Some(*code),
            _ => None,
        }
    }

    /// Where it is another one than the kind's.
    fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::NotWindows => Some(
                "run on a Windows VM with Trusted Launch, or request a token without attestation where the service allows it",
            ),
            Self::NotFound(_) => Some(
                "put AttestationClientLib.dll beside the program or name it in ATTESTATION_CLIENTLIB_PATH; docs/attestation.md says where it comes from",
            ),
            _ => self.code().map(NativeCode::next_step),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotWindows | Self::KeyNotAttestable | Self::NotFound(_) => {
                ErrorKind::AttestationUnavailable
            }
            Self::PathRefused { .. }
            | Self::Unreadable { .. }
            | Self::SignatureRefused { .. }
            | Self::NotAsPinned { .. }
            | Self::NotLoadable { .. }
            | Self::ExportMissing { .. } => ErrorKind::AttestationLibraryUnusable,
            Self::NotStarted(_) | Self::Answered(_) | Self::NoToken(_) | Self::NotCalled(_) => {
                ErrorKind::AttestationFailed
            }
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

fn listed(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths.iter().map(|path| shown(path)).collect();
    shown.join(", ")
}

/// Safe for logs, as people write it.
fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.strip_prefix(r"\\?\").unwrap_or(&text);
    format!("'{}'", printable(text, LONGEST_PATH))
}

/// Of a longer path, no more is shown, in characters.
const LONGEST_PATH: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn every_code_comes_out_with_its_number_its_name_and_its_remedy() {
        for code in NativeCode::known() {
            let error = Error::from(NativeFailure::Answered(code));
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
    fn a_missing_library_and_an_unusable_one_are_distinguished() {
        let path = PathBuf::from("C:\\x.dll");
        let missing = Error::from(NativeFailure::NotFound(vec![path.clone()]));
        assert_eq!(missing.kind(), ErrorKind::AttestationUnavailable);
        let refused = Error::from(NativeFailure::NotAsPinned { path });
        assert_eq!(refused.kind(), ErrorKind::AttestationLibraryUnusable);
        assert!(!missing.is_retryable() && !refused.is_retryable());
        let text = missing.source().unwrap().to_string();
        assert!(text.ends_with(r"places: 'C:\x.dll'"), "{text}");
        let hostile = NativeFailure::NotAsPinned {
            path: PathBuf::from("\\\\?\\C:\\a\u{1b}[2J\n.dll"),
        };
        let text = hostile.to_string();
        assert!(
            text.starts_with(r"'C:\a") && !text.contains(['\u{1b}', '\n']),
            "{text:?}"
        );
    }
}
