use crate::start_error::StartError;
use keybound_core::BoxError;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The directory of the stored CA. It is opened once, and each file is checked and read through one handle, so that it cannot be
/// replaced in between.
pub(super) struct StateDir {
    path: PathBuf,
    #[cfg(unix)]
    handle: std::fs::File,
    /// An open directory cannot be replaced.
    #[cfg(windows)]
    _handle: std::fs::File,
}

/// The stored files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredFile {
    /// The certificate, readable by all users.
    Certificate,
    /// Key and certificate, readable by the owner only.
    Key,
}

impl StoredFile {
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "ca.pem",
            Self::Key => "ca-key.pem",
        }
    }

    fn cannot_be_read(self) -> &'static str {
        match self {
            Self::Certificate => "ca.pem cannot be read",
            Self::Key => "ca-key.pem cannot be read",
        }
    }
}

impl StateDir {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, stored: StoredFile) -> PathBuf {
        self.path.join(stored.name())
    }

    /// Reads a file of at most 64 KiB; `None` if it does not exist.
    pub fn read(&self, stored: StoredFile) -> Result<Option<Vec<u8>>, StartError> {
        let unreadable = |error: io::Error| self.error(stored.cannot_be_read(), error);
        let file = match self.open_file(stored) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unreadable(io::Error::other("it is not a regular file")));
        }
        platform::check(stored, &metadata).map_err(|problem| self.problem(problem))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(unreadable(io::Error::other("it is longer than 64 KiB")));
        }
        Ok(Some(bytes))
    }

    /// The error for a problem of the directory or of a file in it.
    pub fn problem(&self, problem: &'static str) -> StartError {
        state_dir_error(&self.path, problem, None)
    }

    /// The same, with a cause.
    pub fn error(&self, problem: &'static str, cause: impl Into<BoxError>) -> StartError {
        state_dir_error(&self.path, problem, Some(cause.into()))
    }
}

fn state_dir_error(path: &Path, problem: &'static str, source: Option<BoxError>) -> StartError {
    StartError::StateDir {
        path: path.to_owned(),
        problem,
        source,
    }
}

#[cfg(unix)]
mod platform {
    use super::{StateDir, StoredFile, state_dir_error};
    use crate::start_error::StartError;
    use rustix::fs::{Mode, OFlags, openat};
    use std::fs::{DirBuilder, File, Metadata};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    use std::path::PathBuf;

    impl StateDir {
        /// Opens the directory, which is created if absent. It must belong to this user or to root, and be writable by the owner
        /// only.
        pub fn open(path: PathBuf) -> Result<Self, StartError> {
            let error =
                |problem, cause: io::Error| state_dir_error(&path, problem, Some(cause.into()));
            let mut builder = DirBuilder::new();
            let created = builder.recursive(true).mode(0o700).create(&path);
            created.map_err(|cause| error("it cannot be created", cause))?;
            let unreadable = |cause| error("it cannot be read", cause);
            let handle = File::open(&path).map_err(unreadable)?;
            let metadata = handle.metadata().map_err(unreadable)?;
            let dir = Self {
                path: path.clone(),
                handle,
            };
            if !is_own(&metadata) {
                return Err(dir.problem("the directory belongs to another user"));
            }
            if metadata.mode() & 0o022 != 0 {
                return Err(dir.problem(
                    "others can write to the directory: remove ca.pem and ca-key.pem from it and give it mode 0700",
                ));
            }
            Ok(dir)
        }

        /// Without blocking, as opening a FIFO would.
        pub(super) fn open_file(&self, stored: StoredFile) -> io::Result<File> {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let opened = openat(&self.handle, stored.name(), flags, Mode::empty())?;
            Ok(File::from(opened))
        }
    }

    pub(super) fn check(stored: StoredFile, metadata: &Metadata) -> Result<(), &'static str> {
        let (owner, forbidden, mode) = match stored {
            StoredFile::Certificate => (
                "ca.pem belongs to another user",
                0o022,
                "ca.pem can be written to by others: remove ca.pem and ca-key.pem to get a new CA",
            ),
            StoredFile::Key => (
                "ca-key.pem belongs to another user",
                0o077,
                "ca-key.pem can be read by others: give it mode 0600",
            ),
        };
        if !is_own(metadata) {
            return Err(owner);
        }
        if metadata.mode() & forbidden != 0 {
            return Err(mode);
        }
        Ok(())
    }

    fn is_own(metadata: &Metadata) -> bool {
        is_trusted(metadata.uid(), rustix::process::geteuid().as_raw())
    }

    /// Root can change any file anyway.
    fn is_trusted(owner: u32, user: u32) -> bool {
        owner == user || owner == 0
    }

    #[test]
    fn trusts_the_user_and_root() {
        for (owner, user, trusted) in [(7, 7, true), (0, 7, true), (7, 0, false), (8, 7, false)] {
            assert_eq!(is_trusted(owner, user), trusted, "{owner} {user}");
        }
    }
}

#[cfg(windows)]
mod platform {
    use super::{StateDir, StoredFile, state_dir_error};
    use crate::start_error::StartError;
    use keybound_keys::windows::{make_private_folder, open_private_file};
    use std::fs::{File, Metadata};
    use std::io;
    use std::path::PathBuf;

    impl StateDir {
        /// Opens the directory, which is created if absent. A new directory and its files give access to this account, SYSTEM and
        /// administrators only. An existing one must belong to one of these and not be a link; its permissions are not checked,
        /// see the guide.
        pub fn open(path: PathBuf) -> Result<Self, StartError> {
            let folder = make_private_folder(&path).map_err(|error| {
                state_dir_error(&path, "it cannot be created or opened", Some(error.into()))
            })?;
            let Some(handle) = folder else {
                let problem = "the directory belongs to another account";
                return Err(state_dir_error(&path, problem, None));
            };
            Ok(Self {
                path,
                _handle: handle,
            })
        }

        /// Opens a file that is not a link and belongs to one of these accounts.
        pub(super) fn open_file(&self, stored: StoredFile) -> io::Result<File> {
            open_private_file(&self.file(stored))?
                .ok_or_else(|| io::Error::other("it belongs to another account"))
        }
    }

    pub(super) fn check(_: StoredFile, _: &Metadata) -> Result<(), &'static str> {
        Ok(())
    }
}

const MAX_FILE_BYTES: u64 = 64 * 1024;
