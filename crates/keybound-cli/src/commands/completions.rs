use crate::args::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out;
use clap::CommandFactory as _;

/// Prints the completion script of a shell.
pub(crate) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "keybound", &mut script);
    out::data(&script)?;
    Ok(Exit::Success)
}
