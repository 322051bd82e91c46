use crate::Environment;
use keybound_keys::windows::open_service_file;
use std::fs::File;
use std::io;
use std::path::Path;

pub(super) fn directory(environment: &Environment) -> Result<String, &'static str> {
    let data = environment
        .program_data()
        .ok_or("ProgramData is not set: the key files of Azure Arc are below that directory")?;
    Ok(format!(r"{}\{DIRECTORY}", data.trim_end_matches('\\')))
}

/// Opens a file in the directory, without following links, and checks its owner.
pub(super) fn open(directory: &Path, name: &str) -> io::Result<File> {
    open_service_file(directory, name)?
        .ok_or_else(|| io::Error::other("it belongs to no service of the system"))
}

const DIRECTORY: &str = r"AzureConnectedMachineAgent\Tokens";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_below_that_of_the_variable() {
        let below = |value: Option<&str>| {
            directory(&Environment::from_lookup(|name| {
                value.filter(|_| name == "ProgramData").map(str::to_owned)
            }))
        };
        let expected = r"D:\Data\AzureConnectedMachineAgent\Tokens";
        for value in [r"D:\Data", r"D:\Data\"] {
            assert_eq!(below(Some(value)).as_deref(), Ok(expected), "{value}");
        }
        for value in [None, Some("")] {
            let reason = below(value).unwrap_err();
            assert!(reason.contains("ProgramData"), "{value:?} {reason}");
        }
    }
}
