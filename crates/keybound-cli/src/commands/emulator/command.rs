//! The command of `emulator --exec`, run as `env` runs one.
#[cfg(target_os = "linux")]
pub(crate) mod launch;

use crate::out;
use crate::signals::{Signals, status_of};
use crate::text::printable_line;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use tokio::process::{Child, Command};

/// A running command. It is killed where the value is dropped before it ended; on Linux also where this process is killed.
pub(super) struct Running {
    child: Child,
    #[cfg(unix)]
    changes: tokio::signal::unix::Signal,
}

impl Running {
    /// Starts the command with the emulator's environment.
    ///
    /// # Errors
    /// The exit status, as that of `env`: 127 where the command is not found, 126 where it cannot be run.
    pub(super) fn start(
        command: &[OsString],
        ready: &keybound_emulator::Ready,
    ) -> Result<Self, u8> {
        let mut prepared = prepared(command);
        prepared
            .envs(&ready.env)
            // The path itself: it need not be UTF-8.
            .env("KEYBOUND_CA_FILE", &ready.ca_file)
            .kill_on_drop(true);
        Self::spawn(prepared).map_err(|error| not_started(&command[0], &error))
    }

    fn spawn(mut prepared: Command) -> io::Result<Self> {
        Ok(Self {
            // Before the start: while SIGCHLD is ignored, the kernel discards exit statuses of children. The command gets the
            // default action, as from `timeout`.
            #[cfg(unix)]
            changes: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())?,
            child: prepared.spawn()?,
        })
    }

    /// Waits for its end and forwards signals to it. Returns its exit status: 128 + N where signal N ended it.
    ///
    /// # Errors
    /// Where the host cannot wait for it.
    pub(super) async fn wait(&mut self, signals: &mut Signals) -> io::Result<u8> {
        Ok(status_of(self.ended(signals).await?))
    }

    #[cfg(unix)]
    async fn ended(&mut self, signals: &mut Signals) -> io::Result<std::process::ExitStatus> {
        use crate::signals::Relay;
        use rustix::process::Pid;
        let id = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let Some(mut relay) = id.map(Relay::to) else {
            return self.child.wait().await;
        };
        loop {
            tokio::select! {
                status = self.child.wait() => return status,
                received = signals.next() => relay.handle(received),
                _ = self.changes.recv() => relay.follow_stop(),
            }
        }
    }

    /// The console has sent its events to the command, too.
    #[cfg(not(unix))]
    async fn ended(&mut self, _: &mut Signals) -> io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }
}

#[cfg(target_os = "linux")]
fn prepared(command: &[OsString]) -> Command {
    launch::command(command).unwrap_or_else(|| direct(command))
}

#[cfg(not(target_os = "linux"))]
fn prepared(command: &[OsString]) -> Command {
    direct(command)
}

fn direct(command: &[OsString]) -> Command {
    let mut direct = Command::new(&command[0]);
    direct.args(&command[1..]);
    direct
}

/// Reports why a command did not start, and returns the exit status for it.
fn not_started(program: impl AsRef<Path>, error: &io::Error) -> u8 {
    let program = program.as_ref().to_string_lossy();
    out::log(&format!("error: {}: {error}", printable_line(&program)));
    match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    }
}
