//! The command of `emulator --exec`, which runs as with `env`.
#[cfg(target_os = "linux")]
pub(crate) mod launch;

use crate::out;
use crate::signals::{Signals, status_of};
use crate::text::printable_line;
use keybound_emulator::Source;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use tokio::process::{Child, Command};

/// A running command. It is killed when the value is dropped; on Linux also when this process is killed.
pub(super) struct Running {
    child: Child,
    #[cfg(unix)]
    changes: tokio::signal::unix::Signal,
}

impl Running {
    /// Starts the command with the emulator's environment, as on a host with this source.
    ///
    /// # Errors
    /// The exit status, as of `env`: 127 if the command is not found, 126 if it cannot be run.
    pub(super) fn start(
        command: &[OsString],
        ready: &keybound_emulator::Ready,
        source: Source,
    ) -> Result<Self, u8> {
        let mut prepared = prepared(command);
        for variable in Source::VARIABLES {
            prepared.env_remove(variable);
        }
        prepared
            .envs(ready.environment(source))
            // As a path, which may not be UTF-8.
            .env("KEYBOUND_CA_FILE", &ready.ca_file)
            .kill_on_drop(true);
        Self::spawn(prepared).map_err(|error| not_started(&command[0], &error))
    }

    fn spawn(mut prepared: Command) -> io::Result<Self> {
        Ok(Self {
            // Before the start: while SIGCHLD is ignored, the kernel discards the exit statuses of child processes. The command
            // gets the default action, as with `timeout`.
            #[cfg(unix)]
            changes: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())?,
            child: prepared.spawn()?,
        })
    }

    /// Forwards signals to the command until it exits. Returns its exit status: 128 + N if signal N ended it.
    ///
    /// # Errors
    /// If waiting for it fails.
    pub(super) async fn wait(&mut self, signals: &mut Signals) -> io::Result<u8> {
        Ok(status_of(self.exit_status(signals).await?))
    }

    #[cfg(unix)]
    async fn exit_status(&mut self, signals: &mut Signals) -> io::Result<std::process::ExitStatus> {
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

    /// The console sends its events to the command itself.
    #[cfg(not(unix))]
    async fn exit_status(&mut self, _: &mut Signals) -> io::Result<std::process::ExitStatus> {
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

/// Reports why a command did not start, and returns the exit status for that.
fn not_started(program: impl AsRef<Path>, error: &io::Error) -> u8 {
    let program = program.as_ref().to_string_lossy();
    out::log(&format!("error: {}: {error}", printable_line(&program)));
    match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    }
}
