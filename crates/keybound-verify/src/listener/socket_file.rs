use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
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
        let private = PrivateFolder::beside(path)?;
        let unfinished = private.socket();
        let listener = UnixListener::bind(&unfinished)?;
        fs::set_permissions(&unfinished, Permissions::from_mode(mode))?;
        fs::rename(&unfinished, path)?;
        let file = fs::symlink_metadata(path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            identity: (file.dev(), file.ino()),
        })
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
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Also with an error: it accepts too slowly, or not from this account.
            _ => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens on it",
            )),
        },
    }
}

/// A directory that nobody else can enter, for a socket that does not have its permissions yet. Renaming it then replaces the final one at
/// once. It is deleted on drop.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn beside(path: &Path) -> io::Result<Self> {
        let name = format!(".kb{}", std::process::id());
        let folder = Self(path.with_file_name(name));
        // That of a process with the same id, which was killed.
        folder.delete();
        DirBuilder::new().mode(0o700).create(&folder.0)?;
        Ok(folder)
    }

    /// A short name: the path of a socket has at most 107 bytes.
    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }

    fn delete(&self) {
        // What remains is an error at the next start.
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.0);
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        self.delete();
    }
}
