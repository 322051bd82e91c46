//! Rejects links and streams of other users: in a directory that others can write to, such as `/tmp`, they could receive the control
//! endpoint's secret, or choose the file that is replaced.
#[cfg(unix)]
pub(super) use unix::{check_link, open_fifo, open_stream};

#[cfg(not(unix))]
pub(super) use elsewhere::{check_link, open_stream};

#[cfg(unix)]
mod unix {
    use rustix::fs::OFlags;
    use rustix::process::geteuid;
    use std::fs::{self, File, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
    use std::path::Path;

    /// Applies the rule of `fs.protected_symlinks` of the kernel, which is bypassed if a program reads the link itself.
    ///
    /// # Errors
    /// If another user created the link, or the directory cannot be read.
    pub fn check_link(link: &Metadata, folder: &Path) -> io::Result<()> {
        let folder = fs::metadata(folder)?;
        if may_follow(link.uid(), folder.uid(), folder.mode(), geteuid().as_raw()) {
            return Ok(());
        }
        Err(refused(
            "it is a symbolic link of another user, in a directory that others can write to",
        ))
    }

    /// Opens a FIFO for writing. With `wait`, waits for a reader; otherwise fails with `ENXIO` without one.
    ///
    /// # Errors
    /// If it cannot be opened, belongs to another user, or is no longer a FIFO.
    pub fn open_fifo(path: &Path, wait: bool) -> io::Result<File> {
        let flags = match wait {
            true => OFlags::NOFOLLOW,
            false => OFlags::NOFOLLOW | OFlags::NONBLOCK,
        };
        let fifo = open(path, flags)?;
        let metadata = fifo.metadata()?;
        if !metadata.file_type().is_fifo() {
            return Err(refused("it is no longer a FIFO"));
        }
        check_owner(&metadata)?;
        Ok(fifo)
    }

    /// Opens a device or a descriptor of a process for appending. The owner of a descriptor is not checked: the parent process
    /// chose it.
    ///
    /// # Errors
    /// If it cannot be opened, or is a device of another user.
    pub fn open_stream(path: &Path, is_descriptor: bool) -> io::Result<File> {
        if is_descriptor {
            return open(path, OFlags::empty());
        }
        let stream = open(path, OFlags::NOFOLLOW)?;
        check_owner(&stream.metadata()?)?;
        Ok(stream)
    }

    fn open(path: &Path, flags: OFlags) -> io::Result<File> {
        OpenOptions::new()
            .append(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
    }

    fn check_owner(metadata: &Metadata) -> io::Result<()> {
        if is_trusted(metadata.uid(), geteuid().as_raw()) {
            return Ok(());
        }
        Err(refused("it belongs to another user"))
    }

    fn refused(why: &'static str) -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, why)
    }

    /// The rule of <https://docs.kernel.org/admin-guide/sysctl/fs.html#protected-symlinks>, also for directories that a group
    /// can write to.
    fn may_follow(link_owner: u32, folder_owner: u32, folder_mode: u32, user: u32) -> bool {
        let is_shared = folder_mode & STICKY != 0 && folder_mode & WRITABLE_BY_OTHERS != 0;
        !is_shared || is_trusted(link_owner, user) || link_owner == folder_owner
    }

    fn is_trusted(owner: u32, user: u32) -> bool {
        owner == user || owner == 0
    }

    const STICKY: u32 = 0o1000;
    const WRITABLE_BY_OTHERS: u32 = 0o022;

    #[test]
    fn rejects_links_of_other_users_in_shared_sticky_folders() {
        // The owners of link and directory, the directory's mode, the user.
        for (link, folder, mode, user, followed) in [
            (7, 0, 0o41777, 7, true),
            (0, 0, 0o41777, 7, true),
            (0, 9, 0o41777, 7, true),
            (9, 9, 0o41777, 7, true),
            (8, 9, 0o41777, 7, false),
            (8, 0, 0o41777, 7, false),
            (8, 0, 0o41777, 0, false),
            (8, 7, 0o41777, 7, false),
            (8, 7, 0o41770, 7, false),
            (8, 7, 0o41702, 7, false),
            (8, 7, 0o41755, 7, true),
            (8, 7, 0o40777, 7, true),
        ] {
            let may = may_follow(link, folder, mode, user);
            assert_eq!(may, followed, "{link} {folder} {mode:o} {user}");
        }
    }

    #[test]
    fn trusts_only_the_user_and_root() {
        for (owner, user, trusted) in [(7, 7, true), (0, 7, true), (7, 0, false), (8, 7, false)] {
            assert_eq!(is_trusted(owner, user), trusted, "{owner} {user}");
        }
    }
}

/// On Windows, links need privileges, and each user has their own temporary directory.
#[cfg(not(unix))]
mod elsewhere {
    use std::fs::{File, Metadata, OpenOptions};
    use std::io;
    use std::path::Path;

    pub fn check_link(_: &Metadata, _: &Path) -> io::Result<()> {
        Ok(())
    }

    pub fn open_stream(path: &Path, _: bool) -> io::Result<File> {
        OpenOptions::new().append(true).open(path)
    }
}
