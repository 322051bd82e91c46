use crate::args::{Cli, ManArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out;
use clap::CommandFactory as _;
use std::fs;
use std::path::Path;

/// Prints the man page of the program, or writes one for each subcommand too.
pub(crate) fn run(args: &ManArgs) -> Result<Exit, Failure> {
    match &args.dir {
        None => out::data(&page(Cli::command())?)?,
        Some(dir) => write_all(dir)?,
    }
    Ok(Exit::Success)
}

fn write_all(dir: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::Host(format!("{}: {error}", dir.display()));
    fs::create_dir_all(dir).map_err(failed)?;
    let program = Cli::command();
    fs::write(dir.join("keybound.1"), page(program.clone())?).map_err(failed)?;
    for (words, subcommand) in below("keybound", &program) {
        let name = words.replace(' ', "-");
        let subcommand = subcommand.display_name(name.clone()).bin_name(words);
        fs::write(dir.join(format!("{name}.1")), page(subcommand)?).map_err(failed)?;
    }
    Ok(())
}

/// All subcommands, with their command lines.
fn below(words: &str, command: &clap::Command) -> Vec<(String, clap::Command)> {
    let subcommands = command.get_subcommands().flat_map(|subcommand| {
        let words = format!("{words} {}", subcommand.get_name());
        let deeper = below(&words, subcommand);
        std::iter::once((words, subcommand.clone())).chain(deeper)
    });
    subcommands.collect()
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}
