use crate::config::{ArcConfig, ConfigError};
use keybound_core::BoxError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The emulator could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid: correct the key that the cause names.
    #[error("the configuration is invalid")]
    Config(#[source] ConfigError),
    /// The directory of the stored CA, or a file in it, cannot be used: correct the problem in the
    /// message, or use another directory.
    #[error("the state directory {path} cannot be used: {problem}", path = .path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// The problem.
        problem: &'static str,
        /// The error of the system or the parser.
        #[source]
        source: Option<BoxError>,
    },
    /// Azure Arc's key files cannot be written to `arc.tokens_dir`: use a directory that this user can write to.
    #[error("Azure Arc's key files cannot be written to {folder}", folder = .folder.display())]
    ArcTokens {
        /// The directory.
        folder: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The port is in use, or the host lacks the loopback address.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// OpenSSL could not create keys or certificates.
    #[error("the emulator's certificates could not be created")]
    Certificates(#[source] BoxError),
    /// A thread, a runtime or a temporary file could not be created.
    #[error("the host lacks a resource that the emulator needs")]
    Host(#[source] io::Error),
}

impl StartError {
    pub(crate) fn arc_tokens(config: &ArcConfig, source: io::Error) -> Self {
        Self::ArcTokens {
            folder: config.tokens_dir.clone().unwrap_or_default(),
            source,
        }
    }
}
