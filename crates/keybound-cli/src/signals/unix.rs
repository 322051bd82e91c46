mod relay;

pub(crate) use relay::Relay;

use super::{Received, Sender};
use rustix::process::Signal;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Origin;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The signals that this process receives from now on, in their order.
///
/// A thread receives them together with their senders, which tokio does not report.
pub(crate) struct Signals(UnboundedReceiver<Received>);

impl Signals {
    /// Handles the signals that end a process by default, except those that were ignored when the process started (`nohup`),
    /// which stay ignored.
    pub(crate) fn ending() -> io::Result<Self> {
        Self::listen(ENDING)
    }

    /// As [`Signals::ending`], and those of job control and of the terminal's window: all that are forwarded to a command.
    pub(crate) fn for_command() -> io::Result<Self> {
        Self::listen(&[ENDING, OTHERS].concat())
    }

    fn listen(signals: &[Signal]) -> io::Result<Self> {
        let handled = signals.iter().filter(|signal| !ignored_at_start(**signal));
        let mut signals = SignalsInfo::<WithOrigin>::new(handled.map(|signal| signal.as_raw()))?;
        let (sender, receiver) = unbounded_channel();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let received = signals.forever().filter_map(|origin| received(&origin));
                // Ends when the receiver is dropped.
                received
                    .map(|received| sender.send(received))
                    .take_while(Result::is_ok)
                    .for_each(drop);
            })?;
        Ok(Self(receiver))
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Received {
        match self.0.recv().await {
            Some(received) => received,
            // The thread runs as long as the receiver.
            None => std::future::pending().await,
        }
    }

    /// The next signal, if one has arrived.
    pub(crate) fn pending(&mut self) -> Option<Received> {
        self.0.try_recv().ok()
    }
}

fn received(origin: &Origin) -> Option<Received> {
    let sender = match &origin.process {
        Some(process) => Sender::Process(process.pid),
        None => Sender::Kernel,
    };
    Some(Received {
        number: u8::try_from(origin.signal).ok()?,
        sender,
    })
}

/// Whether a signal was ignored when the process started, as by `nohup`; known on Linux only. A handler would undo that, also for
/// child processes. Must be called before the first handler is installed.
fn ignored_at_start(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

/// Whether a signal ends a process that does not handle it.
pub(super) fn ends(number: u8) -> bool {
    ENDING
        .iter()
        .any(|signal| signal.as_raw() == i32::from(number))
}

/// The signal that ended a process, if one did.
pub(super) fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// Signals that end a process without a handler, except those of a crash.
const ENDING: &[Signal] = &[
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::VTALARM,
    Signal::PROF,
    #[cfg(target_os = "linux")]
    Signal::IO,
    #[cfg(target_os = "linux")]
    Signal::POWER,
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    Signal::STKFLT,
];
/// Signals that stop or continue a process without a handler, or have no effect on it.
const OTHERS: &[Signal] = &[Signal::TSTP, Signal::CONT, Signal::WINCH, Signal::URG];
