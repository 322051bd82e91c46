use crate::signals::{Received, Sender};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgid, getpgrp, getpid, getppid, getsid, kill_process,
    waitid,
};

/// Forwards signals to the command that this process runs, so that it receives each signal once, as it would without this process.
/// Stops and continues with the command if a shell controls both as a job.
pub(crate) struct Relay {
    command: Pid,
    /// SIGTSTP has arrived since the last SIGCONT.
    suspending: bool,
    /// The SIGCONT that continued this process is not handled yet; the command has been continued already.
    continued: bool,
}

impl Relay {
    /// A relay for the command with this process id, which has not been waited for.
    pub(crate) fn to(command: Pid) -> Self {
        Self {
            command,
            suspending: false,
            continued: false,
        }
    }

    /// Forwards a signal, unless the command has received it.
    pub(crate) fn handle(&mut self, received: Received) {
        let Some(signal) = Signal::from_named_raw(received.number.into()) else {
            return;
        };
        match signal {
            Signal::TSTP => self.suspending = true,
            Signal::CONT => self.suspending = false,
            _ => {}
        }
        let continued = signal == Signal::CONT && std::mem::take(&mut self.continued);
        if !continued && !self.has_received(signal, received.sender) {
            self.send(signal);
        }
    }

    /// Called when the command may have stopped. Under a shell with job control, this process then stops too, so that the shell
    /// gets the terminal back, until the shell continues both.
    pub(crate) fn follow_stop(&mut self) {
        if !self.is_suspended() || !has_shell() {
            return;
        }
        // Returns when SIGCONT has arrived.
        let _ = kill_process(getpid(), Signal::STOP);
        self.continued = true;
        if self.stopped_by().is_some() {
            self.send(Signal::CONT);
        }
    }

    /// Whether job control stopped the command. Some programs react to SIGTSTP with SIGSTOP; a SIGSTOP without SIGTSTP is from
    /// another process, which may continue the command alone.
    fn is_suspended(&self) -> bool {
        let job_control = [Signal::TSTP, Signal::TTIN, Signal::TTOU].map(Signal::as_raw);
        self.stopped_by()
            .is_some_and(|signal| self.suspending || job_control.contains(&signal))
    }

    /// The signal that stopped the command, if it is stopped.
    fn stopped_by(&self) -> Option<i32> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.command), options).ok()?;
        status?.stopping_signal()
    }

    /// Whether the command has received the signal, or sent it.
    fn has_received(&self, signal: Signal, sender: Sender) -> bool {
        match sender {
            Sender::Process(id) => id == self.command.as_raw_pid(),
            // A terminal sends its signals to the whole foreground process group, but a hangup only to the leader of the session.
            // Signals of timers are for this process only.
            Sender::Kernel => {
                let of_terminal = [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::WINCH];
                let of_hangup = [Signal::HUP, Signal::CONT];
                (of_terminal.contains(&signal) || (of_hangup.contains(&signal) && !leads_session()))
                    && getpgid(Some(self.command)).is_ok_and(|group| group == getpgrp())
            }
        }
    }

    fn send(&self, signal: Signal) {
        // The command may have exited; its process id is not reused until it is waited for.
        let _ = kill_process(self.command, signal);
    }
}

/// Whether the parent is a shell with job control or similar: in the same session, but in another process group. Without one, as
/// in a container, nothing would continue this process, and the kernel does not stop it either.
fn has_shell() -> bool {
    let parent = getppid();
    let same_session = getsid(parent).is_ok_and(|session| getsid(None) == Ok(session));
    parent.is_some() && same_session && getpgid(parent).is_ok_and(|group| group != getpgrp())
}

fn leads_session() -> bool {
    getsid(None).is_ok_and(|session| session == getpid())
}
