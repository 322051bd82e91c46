//! Only Linux has mount namespaces.
use crate::failure::Failure;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Does not exist on this platform.
pub(in super::super) enum PrivateTokens {}

impl PrivateTokens {
    /// Fails.
    ///
    /// # Errors
    /// [`Failure::Usage`]
    pub(in super::super) fn create() -> Result<Self, Failure> {
        let message = "--source arc: client libraries accept Azure Arc's key files in one directory only: name it by --arc-tokens-dir";
        Err(Failure::Usage(message.to_owned()))
    }

    pub(in super::super) fn written(&self) -> PathBuf {
        match *self {}
    }

    pub(in super::super) fn found(&self) -> &'static Path {
        match *self {}
    }

    pub(in super::super) fn wrap(&self, _: &[OsString]) -> Vec<OsString> {
        match *self {}
    }
}
