//! Usage errors of clap, without control characters and without values that may be secrets.
use crate::text::{printable_line, printable_lines};
use crate::{exit::Exit, out};
use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use keybound_core::redact;

/// Prints what clap returned instead of a command: the help, the version, or a usage error.
pub(crate) fn report(error: Error) -> Exit {
    if !error.use_stderr() {
        // A closed pipe is not an error.
        let _ = error.print();
        return Exit::Success;
    }
    let error = without_secrets(error);
    let plain = error.render().to_string();
    let safe = printable_lines(&plain);
    if safe == plain {
        // With colors if the terminal supports them. If standard error is closed, the exit code remains.
        let _ = error.print();
    } else {
        out::log(safe.trim_end());
    }
    Exit::Usage
}

/// clap repeats rejected values, which may be secrets: a token after the wrong option, claims, part of an unquoted header.
fn without_secrets(mut error: Error) -> Error {
    let kind = error.kind();
    let argument = text(&error, ContextKind::InvalidArg).unwrap_or_default();
    let repeatable = |value: &str| match kind {
        _ if value.is_empty() => String::new(),
        ErrorKind::ValueValidation if is_harmless(&argument) => printable_line(value),
        ErrorKind::ValueValidation | ErrorKind::TooManyValues => NOT_REPEATED.to_owned(),
        ErrorKind::UnknownArgument if !value.starts_with('-') => NOT_REPEATED.to_owned(),
        _ => redact(value),
    };
    let context = match kind {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => ContextKind::InvalidValue,
    };
    if let Some(value) = text(&error, context) {
        let repeated = repeatable(&value);
        if repeated != value {
            // The hints repeat the value too.
            error.remove(ContextKind::Suggested);
        }
        error.insert(context, ContextValue::String(repeated));
    }
    error
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Whether the values of an option (`--timeout <SECONDS>`) hold no secret.
fn is_harmless(option: &str) -> bool {
    let name = option.split(' ').next().unwrap_or_default();
    HARMLESS.contains(&name) || name.ends_with("-port")
}

const HARMLESS: [&str; 5] = [
    "--attestation-library-sha256",
    "--client-id",
    "--fault",
    "--object-id",
    "--timeout",
];
const NOT_REPEATED: &str = "[not repeated]";
