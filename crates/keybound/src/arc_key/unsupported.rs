use crate::Environment;
use std::fs::File;
use std::io;
use std::path::Path;

pub(super) fn directory(_: &Environment) -> Result<String, &'static str> {
    Err("the agent of Azure Arc does not exist for this platform")
}

pub(super) fn open(_: &Path, _: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
