//! The `keybound` program: bound tokens, calls with them, a demonstration and the emulator, from the command line.
#![forbid(unsafe_code)]

mod app_client;
mod args;
mod commands;
mod diagnosis;
mod emulation;
mod exit;
mod failure;
mod json;
mod out;
mod output_file;
mod report;
mod session;
mod signals;
mod steps;
mod text;
mod usage;
mod vaults;

use args::{Cli, Command};
use clap::Parser as _;
use exit::Exit;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(status) = commands::emulator::command::launch::become_command() {
        return status;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                commands::emulator::remove_stale_ready_file(std::env::args_os());
            }
            return usage::report(error).into();
        }
    };
    let subcommand = cli.command.name();
    run(cli.command)
        .unwrap_or_else(|failure| failure.report(subcommand))
        .into()
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => commands::demo::run(&args),
        Command::GetToken(args) => commands::get_token::run(&args),
        Command::Call(args) => commands::call::run(&args),
        Command::Emulator(args) => commands::emulator::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Attestation(args) => commands::attestation::run(&args),
        Command::Capabilities(args) => commands::capabilities::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Selftest(args) => commands::selftest::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args),
    }
}
