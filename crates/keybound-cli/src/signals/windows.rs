use super::{HANGUP, INTERRUPT, Received, Sender, TERMINATE};
use std::io;
use std::process::ExitStatus;
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// Ctrl-C, Ctrl-Break, a console that is closed, or a system that shuts down. For the last two Windows waits some seconds
/// before it ends the process. The console sends each to the command of `emulator --exec`, too.
pub(super) struct Signals {
    interrupted: CtrlC,
    broken_off: CtrlBreak,
    closed: CtrlClose,
    shut_down: CtrlShutdown,
}

impl Signals {
    pub(super) fn ending() -> io::Result<Self> {
        Ok(Self {
            interrupted: ctrl_c()?,
            broken_off: ctrl_break()?,
            closed: ctrl_close()?,
            shut_down: ctrl_shutdown()?,
        })
    }

    pub(super) fn for_command() -> io::Result<Self> {
        Self::ending()
    }

    pub(super) async fn next(&mut self) -> Received {
        let number = tokio::select! {
            _ = self.interrupted.recv() => INTERRUPT,
            _ = self.broken_off.recv() => TERMINATE,
            _ = self.shut_down.recv() => TERMINATE,
            _ = self.closed.recv() => HANGUP,
        };
        Received {
            number,
            sender: Sender::Kernel,
        }
    }

    /// The console starts no process that it has sent its event already.
    pub(super) fn pending(&mut self) -> Option<Received> {
        None
    }
}

/// All do.
pub(super) fn ends(_: u8) -> bool {
    true
}

/// There are none.
pub(super) fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}
