//! Programs that do not hang a test.
use std::process::{Child, Command};

/// Starts a program. On Linux, one that does not end is killed, so that the test fails.
pub fn spawn(command: &mut Command) -> Child {
    let child = command.spawn().unwrap();
    #[cfg(target_os = "linux")]
    linux::kill_late(&child);
    child
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    use std::process::Child;

    pub fn kill_late(child: &Child) {
        // Unlike its id, a descriptor never refers to another process later.
        let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
        std::thread::spawn(move || {
            let mut ended = [PollFd::new(&process, PollFlags::IN)];
            if poll(&mut ended, Some(&LIMIT)) == Ok(0) {
                // It may end at this moment.
                let _ = pidfd_send_signal(&process, Signal::KILL);
            }
        });
    }

    /// Longer than any test on a busy machine.
    const LIMIT: Timespec = Timespec {
        tv_sec: 360,
        tv_nsec: 0,
    };
}
