//! Where the library may be. Never the working folder, never `PATH`: any account that can write there could plant one.
use super::{LibraryPlace, NativeFailure};
use std::path::{Path, PathBuf};

/// The folders of this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Folders {
    pub(super) program: Option<PathBuf>,
    pub(super) system: Option<PathBuf>,
}

/// Where to look, in this order; the first file that is there decides. A file that was named is looked for where it was
/// named and nowhere else: a misspelt name must not lead to another library.
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
        (LibraryPlace::NativeFolder, program.map(native_folder)),
        (LibraryPlace::SystemFolder, folders.system.clone()),
    ];
    let folders = all
        .into_iter()
        .filter_map(|(place, folder)| Some((place, folder?)));
    Ok(folders
        .map(|(place, folder)| (place, folder.join(FILE_NAME)))
        .collect())
}

fn native_folder(program: &Path) -> PathBuf {
    program.join("native")
}

/// Takes the absolute path of a file with the ending `.dll` on a drive of this host. What a network share answers can change
/// between check and load, and Windows would add the ending to a name without one, and load another file.
pub(super) fn check(path: &Path) -> Result<(), NativeFailure> {
    let refused = |reason| NativeFailure::PathRefused {
        path: path.to_owned(),
        reason,
    };
    let text = path.to_str().ok_or(refused("it is no Unicode text"))?;
    let text = text.strip_prefix(VERBATIM).unwrap_or(text);
    let mut characters = text.chars();
    let drive = characters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && characters.next() == Some(':')
        && matches!(characters.next(), Some('\\' | '/'));
    if !drive {
        return Err(refused(
            "it is not an absolute path on a drive of this host",
        ));
    }
    let rest = characters.as_str();
    if rest.contains([':', '\0']) {
        return Err(refused("it is not the path of a plain file"));
    }
    let ending = rest.len().checked_sub(ENDING.len());
    let ending = ending.and_then(|at| rest.get(at..));
    if !ending.is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING)) {
        return Err(refused("its name does not end with .dll"));
    }
    Ok(())
}

const FILE_NAME: &str = "AttestationClientLib.dll";
const ENDING: &str = ".dll";
/// Such a path means what it says: no `.`, no `..`, no other spelling.
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
    fn the_order_is_program_native_system() {
        let places = places(None, None, &folders()).unwrap();
        let order: Vec<_> = places.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(order, ["program_folder", "native_folder", "system_folder"]);
        for (_, path) in places {
            assert_eq!(path.file_name().unwrap(), FILE_NAME);
        }
    }

    #[test]
    fn a_named_file_is_the_only_place_and_goes_before_the_environment() {
        let option = Path::new("C:\\a.dll");
        let variable = Path::new("D:/b.DLL");
        let both = places(Some(option), Some(variable), &folders()).unwrap();
        assert_eq!(both, [(LibraryPlace::Named, option.to_owned())]);
        let one = places(None, Some(variable), &folders()).unwrap();
        assert_eq!(one, [(LibraryPlace::Environment, variable.to_owned())]);
    }

    #[test]
    fn neither_the_working_folder_nor_path_is_a_place() {
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
            assert!(matches!(error, NativeFailure::PathRefused { .. }), "{path}");
            places(None, Some(Path::new(path)), &folders()).unwrap_err();
        }
    }

    #[test]
    fn only_plain_files_with_the_ending_on_drives_are_taken() {
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
