use crate::args::Cli;
use crate::text::shown_lines;
use crate::{exit::Exit, out, report, usage};
use clap::CommandFactory as _;
use clap::error::ErrorKind as Wrong;
use std::io;

/// Why the program did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be meant. Nothing was done.
    Usage(String),
    /// The flow failed.
    Flow(keybound::Error),
    /// The host failed: a port is taken, a disk is full.
    Host(String),
}

impl Failure {
    /// Tells it on standard error, and how to exit from a subcommand.
    pub(crate) fn show(self, subcommand: &str) -> Exit {
        match self {
            Self::Usage(message) => {
                let mut program = Cli::command();
                program.build();
                let command = match program.find_subcommand_mut(subcommand) {
                    Some(subcommand) => subcommand,
                    None => &mut program,
                };
                let message = shown_lines(&message);
                usage::show(command.error(Wrong::ValueValidation, message))
            }
            Self::Flow(error) => {
                out::talk(&report::error_text(&error));
                Exit::Failed
            }
            Self::Host(message) => {
                out::talk(&format!("error: {}", crate::text::shown(&message)));
                Exit::Failed
            }
        }
    }

    /// An error before anything was done: what is malformed is the usage's fault.
    pub(crate) fn before_work(error: keybound::Error) -> Self {
        match error.kind() {
            keybound::ErrorKind::InvalidRequest => Self::Usage(report::chain(&error)),
            _ => Self::Flow(error),
        }
    }
}

impl From<keybound::Error> for Failure {
    fn from(error: keybound::Error) -> Self {
        Self::Flow(error)
    }
}

/// Of standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(format!("writing to standard output failed: {error}"))
    }
}
