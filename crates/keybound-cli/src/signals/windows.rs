use super::Asked;
use std::io;
use std::process::ExitStatus;
use tokio::process::Child;
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// Ctrl-C, Ctrl-Break, a console that is closed, or a system that shuts down. For the last two Windows waits some seconds
/// before it ends the process.
pub(super) struct Requests {
    interrupted: CtrlC,
    broken_off: CtrlBreak,
    closed: CtrlClose,
    shut_down: CtrlShutdown,
}

impl Requests {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupted: ctrl_c()?,
            broken_off: ctrl_break()?,
            closed: ctrl_close()?,
            shut_down: ctrl_shutdown()?,
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupted.recv() => Asked::Interrupt,
            _ = self.broken_off.recv() => Asked::Terminate,
            _ = self.shut_down.recv() => Asked::Terminate,
            _ = self.closed.recv() => Asked::Hangup,
        }
    }
}

/// The console has told the child already.
pub(super) fn pass_on(_: Asked, _: &Child) {}

/// There are none.
pub(super) fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}
