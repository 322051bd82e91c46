use crate::signals::{Received, Sender};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgid, getpgrp, getpid, getppid, getsid, kill_process,
    waitid,
};

/// Forwards signals to the command that this process runs, so that it sees what it would see without a process around it:
/// each signal once. Stops and continues with it where a shell controls both as a job.
pub(crate) struct Relay {
    command: Pid,
    /// SIGTSTP has arrived since the last SIGCONT.
    suspending: bool,
    /// The SIGCONT that continued this process is still to be handled; the command has been continued already.
    continued: bool,
}

impl Relay {
    /// For the command with this process id, which has not been waited for.
    pub(crate) fn to(command: Pid) -> Self {
        Self {
            command,
            suspending: false,
            continued: false,
        }
    }

    /// Forwards a signal, unless the command has received it too.
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

    /// To be called when the command may have stopped. Where a shell waits for that, this process stops too, so that the
    /// shell takes the terminal back, until the shell continues both.
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

    /// Whether the command has stopped as job control stops it: some programs react to SIGTSTP with SIGSTOP. SIGSTOP by
    /// itself comes from another process, which may continue the command alone.
    fn is_suspended(&self) -> bool {
        let job_control = [Signal::TSTP, Signal::TTIN, Signal::TTOU].map(Signal::as_raw);
        self.stopped_by()
            .is_some_and(|signal| self.suspending || job_control.contains(&signal))
    }

    /// The signal that stopped the command, while it is stopped.
    fn stopped_by(&self) -> Option<i32> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.command), options).ok()?;
        status?.stopping_signal()
    }

    /// Whether the command has received the signal too, or sent it.
    fn has_received(&self, signal: Signal, sender: Sender) -> bool {
        match sender {
            Sender::Process(id) => id == self.command.as_raw_pid(),
            // A terminal sends its signals to the whole foreground process group, but a hangup to the leader of the session
            // alone. Timers are this process's own.
            Sender::Kernel => {
                let of_terminal = [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::WINCH];
                let of_hangup = [Signal::HUP, Signal::CONT];
                (of_terminal.contains(&signal) || (of_hangup.contains(&signal) && !leads_session()))
                    && getpgid(Some(self.command)).is_ok_and(|group| group == getpgrp())
            }
        }
    }

    fn send(&self, signal: Signal) {
        // It may have ended by itself just now; its id is its own until it is waited for.
        let _ = kill_process(self.command, signal);
    }
}

/// Whether the parent is a shell with job control, or one like it: in the same session, but in another process group. Without
/// one, as in a container, nothing would continue this process, and the kernel stops nothing there either.
fn has_shell() -> bool {
    let parent = getppid();
    let same_session = getsid(parent).is_ok_and(|session| getsid(None) == Ok(session));
    parent.is_some() && same_session && getpgid(parent).is_ok_and(|group| group != getpgrp())
}

fn leads_session() -> bool {
    getsid(None).is_ok_and(|session| session == getpid())
}
