//! Files that are replaced at once: a reader finds the old content or the new one, and never a part of it.
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::Path;
use tempfile::NamedTempFile;

/// Whether a path names a regular file, or nothing yet in an existing directory. Anything else would itself be replaced: a device, a FIFO,
/// a socket, a symbolic link.
///
/// # Errors
/// What is there instead.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    check_folder(folder_of(path))?;
    earlier(path).map(drop)
}

/// Whether a path names a directory.
///
/// # Errors
/// What is there instead.
pub(crate) fn check_folder(folder: &Path) -> io::Result<()> {
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(wrong(format!("{} is not a directory", folder.display()))),
        Err(error) if is_missing(&error) => Err(wrong(format!(
            "the directory {} does not exist: create it",
            folder.display()
        ))),
        Err(error) => Err(error),
    }
}

/// Writes a text and a line end. A new file can be read by all, one that is replaced keeps its owner and its permissions, except that only
/// the owner can write it.
///
/// # Errors
/// Those of [`check`], and if the file cannot be written, or not for its owner, or belongs to an account that the directory does not.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = folder_of(path);
    check_folder(folder)?;
    let earlier = earlier(path)?;
    let mut file = NamedTempFile::new_in(folder).map_err(|error| {
        // Its own text names a temporary file.
        let (folder, kind) = (folder.display(), error.kind());
        io::Error::new(kind, format!("no file can be created in {folder}: {kind}"))
    })?;
    writeln!(file, "{}", text.trim_end())?;
    set_access(file.as_file(), earlier.as_ref(), folder)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The regular file that is replaced. `None` if there is nothing yet.
fn earlier(path: &Path) -> io::Result<Option<Metadata>> {
    // Not that of the target of a link: an account that may create links in the directory would choose the file that is written.
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    match metadata.file_type() {
        kind if kind.is_file() => Ok(Some(metadata)),
        kind if kind.is_dir() => Err(wrong("it is a directory")),
        kind if kind.is_symlink() => Err(wrong(
            "it is a symbolic link, which would be replaced by a file: name the file itself",
        )),
        _ => Err(wrong(
            "it is not a regular file, and would be replaced by one: name a file in a directory",
        )),
    }
}

#[cfg(unix)]
fn set_access(file: &File, earlier: Option<&Metadata>, folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let Some(earlier) = earlier else {
        return file.set_permissions(fs::Permissions::from_mode(READABLE));
    };
    let (own, (user, group)) = (file.metadata()?, (earlier.uid(), earlier.gid()));
    // Where others may create files too, one of them could have created this one.
    if user != own.uid() && user != fs::metadata(folder)?.uid() {
        return Err(wrong(format!(
            "it belongs to the user {user}, who is neither this account nor the owner of the directory, and could change what is written: \
             remove it, or change its owner"
        )));
    }
    if (own.uid(), own.gid()) != (user, group) {
        fchown(file, Some(user), Some(group)).map_err(|error| {
            let text = format!(
                "it belongs to the user {user} and the group {group}, for which this account cannot write it: {error}"
            );
            io::Error::new(error.kind(), text)
        })?;
    }
    // After the owner, whose change resets some of them.
    file.set_permissions(fs::Permissions::from_mode(earlier.mode() & 0o755))
}

#[cfg(not(unix))]
fn set_access(_: &File, _: Option<&Metadata>, _: &Path) -> io::Result<()> {
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn wrong(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem.into())
}

/// What is written are public keys, for proxies with other accounts.
#[cfg(unix)]
const READABLE: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_or_creates_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for text in ["first", "second\n"] {
            check(&path).unwrap();
            replace(&path, text).unwrap();
            let written = fs::read_to_string(&path).unwrap();
            assert_eq!(written, format!("{}\n", text.trim_end()));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn directories_are_named_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| {
            let error = check(path).unwrap_err().to_string();
            assert_eq!(replace(path, "text").unwrap_err().to_string(), error);
            error
        };
        assert_eq!(error(folder.path()), "it is a directory");
        let missing = folder.path().join("missing");
        assert_eq!(
            error(&missing.join("file")),
            format!(
                "the directory {} does not exist: create it",
                missing.display()
            )
        );
    }

    #[cfg(unix)]
    #[test]
    fn replaces_nothing_but_regular_files() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        fs::write(path("target"), "data").unwrap();
        symlink(path("target"), path("link")).unwrap();
        symlink(path("absent"), path("dangling")).unwrap();
        symlink(path("fifo"), path("link-to-fifo")).unwrap();
        for name in ["fifo", "socket", "link", "dangling", "link-to-fifo"] {
            let before = fs::symlink_metadata(path(name)).unwrap().file_type();
            check(&path(name)).unwrap_err();
            replace(&path(name), "text").unwrap_err();
            let after = fs::symlink_metadata(path(name)).unwrap().file_type();
            assert_eq!(after, before, "{name}");
        }
        assert_eq!(fs::read(path("target")).unwrap(), b"data");
        assert!(!path("absent").exists());
    }

    #[cfg(unix)]
    #[test]
    fn keeps_permissions_and_owner() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, "first").unwrap();
        let access = || {
            let metadata = fs::metadata(&path).unwrap();
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
        };
        assert_eq!(access().2, 0o644);
        // Root can change the owner, other accounts cannot.
        let is_root = chown(folder.path(), Some(65_534), Some(65_534)).is_ok();
        let _ = chown(&path, Some(65_534), Some(65_534));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = access();
        replace(&path, "second").unwrap();
        assert_eq!(access(), before);
        assert_eq!(fs::read(&path).unwrap(), b"second\n");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        replace(&path, "third").unwrap();
        assert_eq!(access().2, 0o644);
        if is_root {
            // A file that another account has created in a directory where it may.
            chown(&path, Some(65_533), None).unwrap();
            let error = replace(&path, "fourth").unwrap_err().to_string();
            assert!(error.contains("the user 65533"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), b"third\n");
        }
    }
}
