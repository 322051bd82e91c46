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
        let private = PrivateFolder::beside(path).map_err(|error| in_folder(path, &error))?;
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
        Ok(_) => check_stale(UnixStream::connect(path).await.err()),
    }
}

/// Whether the socket is left over, from the error of a connection to it.
fn check_stale(error: Option<io::Error>) -> io::Result<()> {
    let (kind, problem) = match error.map(|error| error.kind()) {
        Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => return Ok(()),
        Some(kind @ io::ErrorKind::PermissionDenied) => (
            kind,
            "this account cannot connect to the socket that is there: if it is left over from a start by another account, remove it",
        ),
        // Also with an error: it accepts too slowly.
        _ => (io::ErrorKind::AddrInUse, "another process listens on it"),
    };
    Err(io::Error::new(kind, problem))
}

/// An error of the directory in which the socket is.
fn in_folder(path: &Path, error: &io::Error) -> io::Error {
    let folder = path.parent().unwrap_or(path).display();
    let text = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "the directory {folder} does not exist: create it, as systemd does with RuntimeDirectory"
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "this account cannot create files in the directory {folder}: change its owner or permissions"
            )
        }
        _ => return io::Error::new(error.kind(), format!("the directory {folder}: {error}")),
    };
    io::Error::new(error.kind(), text)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Root can connect to each socket, so no test with files can have this error in a container.
    #[test]
    fn socket_of_another_account_is_not_said_to_be_in_use() {
        let checked = |kind: io::ErrorKind| check_stale(Some(kind.into()));
        checked(io::ErrorKind::ConnectionRefused).unwrap();
        let error = checked(io::ErrorKind::PermissionDenied).unwrap_err();
        assert!(error.to_string().contains("left over"), "{error}");
        let error = checked(io::ErrorKind::WouldBlock).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        check_stale(None).unwrap_err();
    }
}
