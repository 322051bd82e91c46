use crate::signals::Received;
use std::process::ExitCode;

/// The exit status of the program. The numbers are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: success. Also if the reader of standard output closed it early.
    Success,
    /// 1: the flow failed; the error names its stage and code.
    Failed,
    /// 2: wrong usage, or a file that is not usable; nothing was done.
    Usage,
    /// The status of the command that `emulator --exec` ran: 128 + N if signal N ended it, 127 if it was not found, 126
    /// if it could not be run.
    Child(u8),
    /// 128 + N: signal N ended `demo`, `doctor` or `emulator`.
    Stopped(Received),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Child(status) => status,
            Exit::Stopped(received) => received.status(),
        })
    }
}
