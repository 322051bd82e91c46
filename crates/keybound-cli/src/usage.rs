//! Usage errors as clap words them, without anything that a terminal obeys and without what may be a secret.
use crate::text::{shown, shown_lines};
use crate::{exit::Exit, out};
use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use keybound_core::redact;

/// Prints what clap found instead of a command: the help or the version, or a usage error.
pub(crate) fn show(error: Error) -> Exit {
    if !error.use_stderr() {
        // A reader that went away has read enough.
        let _ = error.print();
        return Exit::Success;
    }
    let error = without_secrets(error);
    let plain = error.render().to_string();
    let shown = shown_lines(&plain);
    if shown == plain {
        // With colors where they are wanted. The exit code says it too where standard error is closed.
        let _ = error.print();
    } else {
        out::talk(shown.trim_end());
    }
    Exit::Usage
}

/// clap repeats what it refuses: a token that was put after the wrong option, a claim, a word of a header that lacked its
/// quotes.
fn without_secrets(mut error: Error) -> Error {
    let kind = error.kind();
    let argument = text(&error, ContextKind::InvalidArg).unwrap_or_default();
    let repeatable = |value: &str| match kind {
        _ if value.is_empty() => String::new(),
        ErrorKind::ValueValidation if is_harmless(&argument) => shown(value),
        ErrorKind::ValueValidation | ErrorKind::TooManyValues => NOT_REPEATED.to_owned(),
        ErrorKind::UnknownArgument if !value.starts_with('-') => NOT_REPEATED.to_owned(),
        _ => redact(value),
    };
    let from_outside = match kind {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => ContextKind::InvalidValue,
    };
    if let Some(value) = text(&error, from_outside) {
        let repeated = repeatable(&value);
        if repeated != value {
            // Its hints repeat the value, too.
            error.remove(ContextKind::Suggested);
        }
        error.insert(from_outside, ContextValue::String(repeated));
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
