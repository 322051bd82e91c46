//! Standard output holds data, standard error logs and errors. A closed pipe is not an error.
use anstream::{AutoStream, ColorChoice};
use std::io::{self, IsTerminal as _, Write};

/// Writes data to standard output. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// Any other failure, such as a full disk.
pub(crate) fn data(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes a text to standard output, and the end of its line.
///
/// # Errors
/// As [`data`].
pub(crate) fn line(text: &str) -> io::Result<()> {
    data(format!("{text}\n").as_bytes())
}

/// Writes a text with ANSI styles to standard output, and the end of its line. The styles are removed unless it is a terminal, and
/// with `NO_COLOR` or `TERM=dumb`.
///
/// # Errors
/// As [`data`].
pub(crate) fn styled_line(text: &str) -> io::Result<()> {
    let stdout = io::stdout();
    let choice = match stdout.is_terminal() {
        true => AutoStream::choice(&stdout),
        false => ColorChoice::Never,
    };
    let mut out = AutoStream::new(stdout.lock(), choice);
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes a line to standard error. Errors are ignored.
pub(crate) fn log(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}
