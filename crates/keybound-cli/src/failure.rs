use crate::args::Cli;
use crate::text::{printable_line, printable_lines};
use crate::{exit::Exit, out, report, usage};
use clap::CommandFactory as _;
use clap::error::ErrorKind as Wrong;
use std::io;

/// Why the program failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage. Nothing was done.
    Usage(String),
    /// A file that is named, or its content, is not usable. Nothing was done.
    Input(String),
    /// The flow failed.
    Flow(keybound::Error),
    /// The host failed: a port is taken, a disk is full.
    Host(String),
}

impl Failure {
    /// Prints it to standard error and returns the exit status of a subcommand.
    pub(crate) fn report(self, subcommand: &str) -> Exit {
        match self {
            Self::Usage(message) => {
                let mut program = Cli::command();
                program.build();
                let command = match program.find_subcommand_mut(subcommand) {
                    Some(subcommand) => subcommand,
                    None => &mut program,
                };
                let message = printable_lines(&message);
                usage::report(command.error(Wrong::ValueValidation, message))
            }
            // The synopsis of the options would not help.
            Self::Input(message) => {
                out::log(&error_line(&message));
                Exit::Usage
            }
            Self::Flow(error) => {
                out::log(&report::error_text(&error));
                Exit::Failed
            }
            Self::Host(message) => {
                out::log(&error_line(&message));
                Exit::Failed
            }
        }
    }

    /// An error from before the first request: malformed input is a usage error.
    pub(crate) fn before_work(error: keybound::Error) -> Self {
        match error.kind() {
            keybound::ErrorKind::InvalidRequest => Self::Usage(report::chain(&error)),
            _ => Self::Flow(error),
        }
    }
}

fn error_line(message: &str) -> String {
    format!("error: {}", printable_line(message))
}

impl From<keybound::Error> for Failure {
    fn from(error: keybound::Error) -> Self {
        Self::Flow(error)
    }
}

/// An error of standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(format!("writing to standard output failed: {error}"))
    }
}
