//! The locations of the library. Neither the working directory nor `PATH`: other accounts may be able to write there.
use super::{LibraryPlace, NativeFailure};
use std::path::{Path, PathBuf};

/// The directories of this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Folders {
    pub(super) program: Option<PathBuf>,
    pub(super) system: Option<PathBuf>,
}

/// The paths to try, in this order; the first existing file is used. A configured path is the only one: a misspelt name must
/// not lead to another library.
pub(super) fn places(
    named: Option<&Path>,
    environment: Option<&Path>,
    folders: &Folders,
) -> Result<Vec<(LibraryPlace, PathBuf)>, NativeFailure> {
    let named = named.map(|path| (LibraryPlace::Named, path));
    let environment = environment.map(|path| (LibraryPlace::Environment, path));
    if let Some((place, path)) = named.or(environment) {
        check(path)?;
        return Ok(vec![(place, path.to_owned())]);
    }
    let program = folders.program.as_deref();
    let all = [
        (LibraryPlace::ProgramFolder, program.map(Path::to_owned)),
        (
            LibraryPlace::NativeFolder,
            program.map(|program| program.join("native")),
        ),
        (LibraryPlace::SystemFolder, folders.system.clone()),
    ];
    let folders = all
        .into_iter()
        .filter_map(|(place, folder)| Some((place, folder?)));
    Ok(folders
        .map(|(place, folder)| (place, folder.join(FILE_NAME)))
        .collect())
}

/// Accepts the absolute path of a `.dll` file on a drive of this host. The contents of a network share can change between
/// verification and load, and to a name without an extension Windows would add one and load another file.
pub(super) fn check(path: &Path) -> Result<(), NativeFailure> {
    let rejected = |reason| NativeFailure::PathRejected {
        path: path.to_owned(),
        reason,
    };
    let text = path.to_str().ok_or(rejected("it is not Unicode"))?;
    let text = text.strip_prefix(VERBATIM).unwrap_or(text);
    let mut characters = text.chars();
    let drive = characters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && characters.next() == Some(':')
        && matches!(characters.next(), Some('\\' | '/'));
    if !drive {
        return Err(rejected(
            "it is not an absolute path on a drive of this host",
        ));
    }
    let rest = characters.as_str();
    if rest.contains([':', '\0']) {
        return Err(rejected("it is not the path of a regular file"));
    }
    let extension = rest.len().checked_sub(EXTENSION.len());
    let extension = extension.and_then(|at| rest.get(at..));
    if !extension.is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION)) {
        return Err(rejected("its name does not end with .dll"));
    }
    Ok(())
}

const FILE_NAME: &str = "AttestationClientLib.dll";
const EXTENSION: &str = ".dll";
/// The prefix of paths that Windows does not normalize.
const VERBATIM: &str = r"\\?\";

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> Folders {
        Folders {
            program: Some("C:\\app".into()),
            system: Some("C:\\Windows\\System32".into()),
        }
    }

    #[test]
    fn searches_program_native_and_system_folder() {
        let places = places(None, None, &folders()).unwrap();
        let order: Vec<_> = places.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(order, ["program_folder", "native_folder", "system_folder"]);
        for (_, path) in places {
            assert_eq!(path.file_name().unwrap(), FILE_NAME);
        }
    }

    #[test]
    fn configured_path_takes_precedence_over_environment() {
        let option = Path::new("C:\\a.dll");
        let variable = Path::new("D:/b.DLL");
        let both = places(Some(option), Some(variable), &folders()).unwrap();
        assert_eq!(both, [(LibraryPlace::Named, option.to_owned())]);
        let one = places(None, Some(variable), &folders()).unwrap();
        assert_eq!(one, [(LibraryPlace::Environment, variable.to_owned())]);
    }

    #[test]
    fn searches_neither_working_folder_nor_path() {
        assert_eq!(places(None, None, &Folders::default()).unwrap(), []);
        for path in [
            "",
            "AttestationClientLib.dll",
            ".\\AttestationClientLib.dll",
            "native\\AttestationClientLib.dll",
            "\\AttestationClientLib.dll",
            "C:AttestationClientLib.dll",
            "/tmp/AttestationClientLib.dll",
        ] {
            let error = places(Some(Path::new(path)), None, &folders()).unwrap_err();
            assert!(
                matches!(error, NativeFailure::PathRejected { .. }),
                "{path}"
            );
            places(None, Some(Path::new(path)), &folders()).unwrap_err();
        }
    }

    #[test]
    fn accepts_only_dll_files_on_drives() {
        for path in [
            r"\\server\share\AttestationClientLib.dll",
            r"\\?\UNC\server\share\AttestationClientLib.dll",
            r"\\.\pipe\AttestationClientLib.dll",
            r"\\?\GLOBALROOT\Device\x.dll",
            r"C:\AttestationClientLib.dll:stream.dll",
            r"C:\AttestationClientLib",
            r"C:\AttestationClientLib.dll.",
            r"C:\AttestationClientLib.dll ",
            "C:\\a\0.dll",
            "C:\\ä",
            r"1:\a.dll",
        ] {
            check(Path::new(path)).unwrap_err();
        }
        for path in [
            r"C:\AttestationClientLib.dll",
            r"\\?\z:\ä b\x.Dll",
            "c:/x.dll",
        ] {
            check(Path::new(path)).unwrap();
        }
    }
}
