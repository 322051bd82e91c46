use super::{HANGUP, INTERRUPT, Received, Sender, TERMINATE};
use std::io;
use std::process::ExitStatus;
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// Ctrl-C, Ctrl-Break, the close of the console, or the shutdown of the system. For the last two, Windows waits some seconds before
/// it ends the process. The console sends each to the command of `emulator --exec` too.
pub(crate) struct Signals {
    interrupted: CtrlC,
    break_pressed: CtrlBreak,
    closed: CtrlClose,
    shut_down: CtrlShutdown,
}

impl Signals {
    pub(crate) fn ending() -> io::Result<Self> {
        Ok(Self {
            interrupted: ctrl_c()?,
            break_pressed: ctrl_break()?,
            closed: ctrl_close()?,
            shut_down: ctrl_shutdown()?,
        })
    }

    pub(crate) fn for_command() -> io::Result<Self> {
        Self::ending()
    }

    pub(crate) async fn next(&mut self) -> Received {
        let number = tokio::select! {
            _ = self.interrupted.recv() => INTERRUPT,
            _ = self.break_pressed.recv() => TERMINATE,
            _ = self.shut_down.recv() => TERMINATE,
            _ = self.closed.recv() => HANGUP,
        };
        Received {
            number,
            sender: Sender::Kernel,
        }
    }

    /// The console sends its events to a process only after it has started.
    pub(crate) fn pending(&mut self) -> Option<Received> {
        None
    }
}

/// All events do.
pub(super) fn ends(_: u8) -> bool {
    true
}

/// There are no signals.
pub(super) fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}
