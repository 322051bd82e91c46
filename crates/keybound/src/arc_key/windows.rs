use crate::Environment;
use keybound_keys::windows::open_service_file;
use std::fs::File;
use std::io;
use std::path::Path;

pub(super) fn directory(environment: &Environment) -> Option<String> {
    let data = environment.program_data()?;
    Some(format!(r"{}\{DIRECTORY}", data.trim_end_matches('\\')))
}

/// Opens a file in the directory, without following links, and checks its owner.
pub(super) fn open(directory: &Path, name: &str) -> io::Result<File> {
    open_service_file(directory, name)?
        .ok_or_else(|| io::Error::other("it belongs to no service of the system"))
}

const DIRECTORY: &str = r"AzureConnectedMachineAgent\Tokens";
