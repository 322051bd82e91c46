//! Being asked to stop.
use std::io;

/// The request to stop: Ctrl-C, or SIGTERM on Unix.
#[cfg(unix)]
pub(crate) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next request.
    pub(crate) async fn asked(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
        }
    }
}

/// The request to stop: Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct Stop(());

#[cfg(not(unix))]
impl Stop {
    pub(crate) fn listen() -> io::Result<Self> {
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
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM.
    #[cfg(unix)]
    Terminate,
}

/// Passes the request on to a child that is still running.
#[cfg(unix)]
pub(crate) fn pass_on(asked: Asked, child: &tokio::process::Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match asked {
        Asked::Interrupt => Signal::INT,
        Asked::Terminate => Signal::TERM,
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
