use super::Asked;
use rustix::process::{Pid, kill_process};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, SIGTERM, or a terminal that went away (SIGHUP).
pub(super) struct Requests {
    interrupt: Signal,
    terminate: Signal,
    /// Nothing where it is ignored from the start, as `nohup` has it.
    hangup: Option<Signal>,
}

impl Requests {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: match hangup_is_ignored() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            () = next(self.hangup.as_mut()) => Asked::Hangup,
        }
    }
}

async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored, where the kernel tells it (Linux). To listen would undo that.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

pub(super) fn pass_on(asked: Asked, child: &Child) {
    use rustix::process::Signal;
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

/// The signal that ended it.
pub(super) fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}
