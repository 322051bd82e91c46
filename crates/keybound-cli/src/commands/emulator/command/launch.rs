//! A command that ends with the emulator, even if that is killed: this program starts itself again, requests SIGKILL from
//! the kernel at the end of its parent, and replaces itself by the command.
//!
//! The kernel sends that signal when the thread that started the process ends: here the main thread.
use super::not_started;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::env::ArgsOs;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// The prepared command; `None` if this program cannot start itself (no `/proc`).
pub(super) fn command(command: &[OsString]) -> Option<tokio::process::Command> {
    std::fs::metadata(THIS_PROGRAM).ok()?;
    let mut launch = tokio::process::Command::new(THIS_PROGRAM);
    launch
        .arg0(NAME)
        .arg(getpid().as_raw_pid().to_string())
        .args(command);
    Some(launch)
}

/// Replaces this process by the command, if [`command`] started it. Returns if it did not, or on failure.
pub(crate) fn become_command() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    if arguments.next()? != NAME {
        return None;
    }
    Some(ExitCode::from(replaced(arguments).unwrap_or(USAGE)))
}

/// The exit status of a failure; `None` if the arguments are not those of [`command`].
fn replaced(mut arguments: ArgsOs) -> Option<u8> {
    let parent = Pid::from_raw(arguments.next()?.to_str()?.parse().ok()?)?;
    let program = arguments.next()?;
    // If this fails, the command runs nevertheless, and survives SIGKILL of the emulator.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid() != Some(parent) {
        return Some(128 + 9);
    }
    let error = Command::new(&program).args(arguments).exec();
    Some(not_started(program, &error))
}

const THIS_PROGRAM: &str = "/proc/self/exe";
/// The name of this program in that case.
const NAME: &str = "keybound emulator --exec";
const USAGE: u8 = 2;
