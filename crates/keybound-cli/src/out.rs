//! Standard output is data, standard error is talk. Nobody listening is no failure of the work.
use std::io::{self, Write};

/// Writes data to standard output. A reader that went away (`| head`) is success.
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

/// Says something on standard error. Nothing is lost to the work where nobody hears it.
pub(crate) fn talk(text: &str) {
    let mut talk = io::stderr().lock();
    let _ = writeln!(talk, "{text}");
}
