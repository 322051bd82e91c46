use crate::Environment;
use std::fs::File;
use std::io;
use std::path::Path;

/// The agent does not exist for this platform.
pub(super) fn directory(_: &Environment) -> Option<String> {
    None
}

pub(super) fn open(_: &Path, _: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
