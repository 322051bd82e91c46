//! The signals that the program handles; on Windows, console events.
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

use crate::failure::Failure;
use std::io;
use std::process::ExitStatus;

pub(crate) use platform::Signals;
#[cfg(unix)]
pub(crate) use unix::Relay;

/// The failure if signals cannot be handled.
pub(crate) fn failure(error: io::Error) -> Failure {
    Failure::Host(format!("signals cannot be handled: {error}"))
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) number: u8,
    pub(crate) sender: Sender,
}

/// The sender of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The kernel: for a terminal, a timer, a console of Windows.
    Kernel,
    /// The process with this id; 0 for one in an outer PID namespace, which this process cannot see.
    #[cfg_attr(
        windows,
        expect(dead_code, reason = "there are no signals between processes")
    )]
    Process(i32),
}

impl Received {
    /// The exit status of a program that this signal ended: 128 + N for signal N.
    pub(crate) fn status(self) -> u8 {
        128 + self.number
    }

    /// Whether the signal ends a process that does not handle it.
    pub(crate) fn ends(self) -> bool {
        platform::ends(self.number)
    }

    /// Whether the signal requests a service to stop: SIGINT, SIGTERM, or SIGHUP.
    pub(crate) fn asks_to_stop(self) -> bool {
        matches!(self.number, HANGUP | INTERRUPT | TERMINATE)
    }
}

/// The exit status of a child; 128 + N if signal N ended it.
pub(crate) fn status_of(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| Some(128 + platform::signal_of(status)?));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// SIGHUP; on Windows the close of the console.
pub(crate) const HANGUP: u8 = 1;
/// SIGINT, Ctrl-C.
const INTERRUPT: u8 = 2;
/// SIGTERM; on Windows Ctrl-Break, or the shutdown of the system.
const TERMINATE: u8 = 15;
