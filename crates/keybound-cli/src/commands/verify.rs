//! The verification of tokens for proxies.
mod check;
mod keys;
mod proxy_config;
mod serve;

use crate::args::{VerifyArgs, VerifyCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::run_to_end;
use crate::{out, text};
use keybound_verify::Config;
use std::path::Path;
use std::time::Duration;

/// Runs the subcommand.
pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    match &args.command {
        VerifyCommand::Serve(args) => serve::run(args),
        VerifyCommand::Reload(args) => reload(&args.config),
        VerifyCommand::Config(args) => proxy_config::run(args),
        VerifyCommand::Check(args) => check::run(args),
        VerifyCommand::Keys(args) => keys::run(args),
    }
}

fn reload(path: &Path) -> Result<Exit, Failure> {
    let config = read_config(path)?;
    let on_wait = |wait: Duration| {
        let seconds = wait.as_secs();
        out::log(&format!(
            "another reload was requested just before: requesting this one again in {seconds} s"
        ));
    };
    let reloaded = run_to_end(keybound_verify::request_reload(&config, on_wait))?;
    match reloaded {
        Ok(()) => Ok(Exit::Success),
        Err(error) => Err(Failure::Host(error.to_string())),
    }
}

/// Reads the configuration of the daemon.
///
/// # Errors
/// [`Failure::Input`] if it is not usable.
fn read_config(path: &Path) -> Result<Config, Failure> {
    Config::read(path).map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, what: &dyn std::fmt::Display) -> Failure {
    let path = text::printable_line(&path.to_string_lossy());
    // What was read from the file names it already.
    let what = what.to_string();
    let what = what.strip_prefix(&format!("{path}: ")).unwrap_or(&what);
    Failure::Input(format!("--config {path}: {what}"))
}
