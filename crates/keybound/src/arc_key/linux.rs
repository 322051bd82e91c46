use crate::Environment;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use std::fs::File;
use std::io;
use std::path::Path;

pub(super) fn directory(_: &Environment) -> Result<String, &'static str> {
    Ok(DIRECTORY.to_owned())
}

/// Opens a file in the directory, without following links, and checks both.
pub(super) fn open(directory: &Path, name: &str) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(CWD, directory, flags, Mode::empty())?;
    // Opening a pipe would wait for its writer.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(&directory, name, flags, Mode::empty())?;
    check(&fstat(&directory)?, &fstat(&file)?).map_err(io::Error::other)?;
    Ok(File::from(file))
}

fn check(directory: &Stat, file: &Stat) -> Result<(), &'static str> {
    if directory.st_mode & OTHERS_MAY_WRITE != 0 {
        return Err("every account may write to its directory");
    }
    if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile {
        return Err("it is not a regular file");
    }
    if file.st_nlink != 1 {
        return Err("it has several names");
    }
    if file.st_uid != ROOT && file.st_uid != directory.st_uid {
        return Err("it belongs neither to root nor to the owner of its directory");
    }
    if file.st_mode & OTHERS_MAY_WRITE != 0 {
        return Err("every account may write to it");
    }
    Ok(())
}

const DIRECTORY: &str = "/var/opt/azcmagent/tokens";
const ROOT: u32 = 0;
const OTHERS_MAY_WRITE: u32 = 0o002;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use tempfile::TempDir;

    /// A directory with the key file `a.key`.
    fn tokens() -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.key"), "swordfish").unwrap();
        directory
    }

    fn refused(directory: &Path, name: &str) -> String {
        open(directory, name).unwrap_err().to_string()
    }

    #[test]
    fn opens_file_of_the_owner_of_the_directory() {
        let directory = tokens();
        let file = open(directory.path(), "a.key").unwrap();
        assert_eq!(&super::super::content(file).unwrap()[..], b"swordfish");
    }

    #[test]
    fn follows_no_link() {
        let directory = tokens();
        let secret = directory.path().join("a.key");
        symlink(&secret, directory.path().join("b.key")).unwrap();
        assert!(open(directory.path(), "b.key").is_err());
        let link = directory.path().join("link");
        symlink(directory.path(), &link).unwrap();
        assert!(open(&link, "a.key").is_err());
        fs::hard_link(&secret, directory.path().join("c.key")).unwrap();
        assert!(refused(directory.path(), "c.key").contains("several names"));
    }

    #[test]
    fn opens_regular_files_only() {
        let directory = tokens();
        fs::create_dir(directory.path().join("d.key")).unwrap();
        let pipe = directory.path().join("p.key");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for name in ["d.key", "p.key"] {
            assert!(
                refused(directory.path(), name).contains("regular file"),
                "{name}"
            );
        }
        assert!(open(directory.path(), "missing.key").is_err());
        assert!(open(&directory.path().join("a.key"), "a.key").is_err());
    }

    #[test]
    fn requires_that_others_cannot_write() {
        let directory = tokens();
        let file = directory.path().join("a.key");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o646)).unwrap();
        assert!(refused(directory.path(), "a.key").contains("write to it"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refused(directory.path(), "a.key").contains("its directory"));
    }

    #[test]
    fn requires_owner_of_the_directory_or_root() {
        let directory = tokens();
        let file = open(directory.path(), "a.key").unwrap();
        let owned_by = |stat: Stat, uid| {
            let mut stat = stat;
            stat.st_uid = uid;
            stat
        };
        let directory = fstat(File::open(directory.path()).unwrap()).unwrap();
        let directory = owned_by(directory, 77);
        let of = |uid| owned_by(fstat(&file).unwrap(), uid);
        for (owner, accepted) in [(0, true), (77, true), (78, false)] {
            assert_eq!(check(&directory, &of(owner)).is_ok(), accepted, "{owner}");
        }
    }
}
