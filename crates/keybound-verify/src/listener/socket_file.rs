use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// A Unix socket that listens. Its file is removed with it.
pub(crate) struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: another process may have replaced it.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens. The file has its permissions from its first moment, and replaces that of a process that has ended.
    pub(crate) async fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        check_replaceable(path).await?;
        let unfinished = unfinished(path)?;
        // That of a process with the same id, which was killed.
        let _ = fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished)?;
        let finish = || {
            fs::set_permissions(&unfinished, Permissions::from_mode(mode))?;
            fs::rename(&unfinished, path)?;
            fs::symlink_metadata(path)
        };
        match finish() {
            Ok(file) => Ok(Self {
                listener,
                path: path.to_owned(),
                identity: (file.dev(), file.ino()),
            }),
            Err(error) => {
                // The first error is returned.
                let _ = fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(stream)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let file = fs::symlink_metadata(&self.path);
        if file.is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
            // A file that remains is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket is replaced only if no process listens on it.
async fn check_replaceable(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is not a socket exists",
        )),
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens on it",
            )),
            Err(_) => Ok(()),
        },
    }
}

/// A name in the same directory, of which renaming replaces the final one at once.
fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let mut name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    name.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(name))
}
