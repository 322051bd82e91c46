//! The key files of the agent of Azure Arc. A server at the agent's address names one, so that only a file of the agent may be
//! read: a regular file directly in the agent's directory, not a link, owned by the agent or the system, and short. All of this is
//! checked on the opened file, so that nothing can change between check and use.
#[cfg(target_os = "linux")]
#[path = "arc_key/linux.rs"]
mod platform;
#[cfg(windows)]
#[path = "arc_key/windows.rs"]
mod platform;
#[cfg(not(any(target_os = "linux", windows)))]
#[path = "arc_key/unsupported.rs"]
mod platform;

use crate::Environment;
use keybound_core::source::{ArcChallenge, ArcPlatform, MAX_ARC_KEY, arc_secret};
use keybound_core::{BoxError, Error, ErrorKind, Result, SecretString, Stage};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The agent's directory of tokens.
///
/// # Errors
/// [`ErrorKind::ArcChallengeFailed`] if this platform has none, or the variable that leads to it is not set.
pub(crate) fn directory(environment: &Environment) -> Result<String> {
    platform::directory(environment)
        .map_err(|reason| Error::new(ErrorKind::ArcChallengeFailed, Stage::Source, reason))
}

/// Reads the key file of a challenge, on a thread for blocking work.
pub(crate) async fn read(directory: String, challenge: ArcChallenge) -> Result<SecretString> {
    let read =
        move || platform::open(Path::new(&directory), challenge.file_name()).and_then(content);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(content)) => arc_secret(content),
        Ok(Err(error)) => Err(failed(error)),
        Err(error) => Err(failed(error)),
    }
}

/// One byte more than allowed, so that a longer file is an error.
fn content(file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(MAX_ARC_KEY + 1);
    file.take(MAX_ARC_KEY as u64 + 1)
        .read_to_end(&mut content)?;
    Ok(content)
}

fn failed(cause: impl Into<BoxError>) -> Error {
    Error::new(
        ErrorKind::ArcChallengeFailed,
        Stage::Source,
        "the key file that Azure Arc names cannot be used",
    )
    .with_source(cause)
}

/// How the agent writes paths on this platform.
pub(crate) const PLATFORM: ArcPlatform = if cfg!(windows) {
    ArcPlatform::Windows
} else {
    ArcPlatform::Linux
};
