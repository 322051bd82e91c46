//! Being asked to stop.
use crate::failure::Failure;
#[cfg(unix)]
use std::io;

/// The request to stop: Ctrl-C, SIGTERM, or a terminal that went away (SIGHUP).
#[cfg(unix)]
pub(crate) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// Nothing where it is ignored from the start, as `nohup` has it.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Stop {
    /// Listens from now on.
    ///
    /// # Errors
    /// [`Failure::Host`] where the host lets nobody listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Self::try_listen()
            .map_err(|error| Failure::Host(format!("signals cannot be awaited: {error}")))
    }

    fn try_listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: match hangup_is_ignored() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    /// Waits for the next request.
    pub(crate) async fn asked(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            () = next(self.hangup.as_mut()) => Asked::Hangup,
        }
    }
}

#[cfg(unix)]
async fn next(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored, where the kernel tells it (Linux). To listen would undo that.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// The request to stop: Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct Stop(());

#[cfg(not(unix))]
impl Stop {
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self(()))
    }

    pub(crate) async fn asked(&mut self) -> Asked {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Asked::Interrupt,
            // Nobody can ask.
            Err(_) => std::future::pending().await,
        }
    }
}

/// How it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM.
    #[cfg(unix)]
    Terminate,
    /// SIGHUP.
    #[cfg(unix)]
    Hangup,
}

impl Asked {
    /// The exit status of a program that this ended: 128 + N for signal N.
    pub(crate) fn status(self) -> u8 {
        128 + match self {
            Self::Interrupt => 2,
            #[cfg(unix)]
            Self::Terminate => 15,
            #[cfg(unix)]
            Self::Hangup => 1,
        }
    }
}

/// Passes the request on to a child that is still running.
#[cfg(unix)]
pub(crate) fn pass_on(asked: Asked, child: &tokio::process::Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match asked {
        Asked::Interrupt => Signal::INT,
        Asked::Terminate => Signal::TERM,
        Asked::Hangup => Signal::HUP,
    };
    // The child has no id once it is waited for, so no other process can be meant.
    let id = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(id) = id {
        // It may have ended by itself just now.
        let _ = kill_process(id, signal);
    }
}

/// The console has told the child already.
#[cfg(not(unix))]
pub(crate) fn pass_on(_: Asked, _: &tokio::process::Child) {}

/// The exit status of a child; 128 + N where signal N ended it.
pub(crate) fn status_of(status: std::process::ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status
        .code()
        .map_or(u8::MAX, |code| u8::try_from(code).unwrap_or(u8::MAX))
}
