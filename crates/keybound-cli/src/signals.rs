//! Being asked to stop.
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

use crate::failure::Failure;
use std::process::ExitStatus;
use tokio::process::Child;

/// The request to stop.
pub(crate) struct Stop(platform::Requests);

impl Stop {
    /// Listens from now on.
    ///
    /// # Errors
    /// [`Failure::Host`] where the host lets nobody listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        platform::Requests::listen()
            .map(Self)
            .map_err(|error| Failure::Host(format!("signals cannot be awaited: {error}")))
    }

    /// Waits for the next request.
    pub(crate) async fn asked(&mut self) -> Asked {
        self.0.next().await
    }
}

/// How it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM; on Windows Ctrl-Break, or the system that shuts down.
    Terminate,
    /// SIGHUP; on Windows the console that was closed.
    Hangup,
}

impl Asked {
    /// The exit status of a program that this ended: 128 + N for signal N, on Windows the one that it is like.
    pub(crate) fn status(self) -> u8 {
        128 + match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
            Self::Hangup => 1,
        }
    }
}

/// Passes the request on to a child that is still running and has not been told.
pub(crate) fn pass_on(asked: Asked, child: &Child) {
    platform::pass_on(asked, child);
}

/// The exit status of a child; 128 + N where signal N ended it.
pub(crate) fn status_of(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| Some(128 + platform::signal_of(status)?));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}
