#![allow(unsafe_code, reason = "calls of Windows")]
use crate::native::NativeFailure;
use crate::native::location::{self, Folders};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::{Path, PathBuf};
use windows::Win32::Foundation::HANDLE;
use windows::Win32::Storage::FileSystem::{
    FILE_NAME_NORMALIZED, FILE_SHARE_READ, FILE_TYPE_DISK, GetFileType, GetFinalPathNameByHandleW,
    SECURITY_IDENTIFICATION,
};
use windows::Win32::System::SystemInformation::GetSystemDirectoryW;

/// An open file and its bytes. It cannot be opened for writing, deleted or renamed while this value exists. Earlier memory
/// mappings can still change it: see [`PrivateCopy`](super::private_copy::PrivateCopy).
pub(super) struct HeldFile {
    file: File,
    /// The path without links, in the literal form of Windows (`\\?\C:\…`).
    pub(super) path: PathBuf,
    /// The contents, read once.
    pub(super) bytes: Vec<u8>,
    /// The hash of these bytes.
    pub(super) sha256: [u8; 32],
}

impl HeldFile {
    /// Opens and reads a file; `None` if it does not exist.
    ///
    /// # Errors
    /// [`NativeFailure::Unreadable`] if it cannot be read or is open for writing;
    /// [`NativeFailure::PathRejected`] if it is not, after links, a regular file on a drive of this host.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, NativeFailure> {
        let opened = OpenOptions::new()
            .read(true)
            .share_mode(FILE_SHARE_READ.0)
            // A link may lead to a pipe, whose server must not impersonate this account.
            .security_qos_flags(SECURITY_IDENTIFICATION.0)
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, error)),
        };
        // Before it is read: a pipe would block.
        check_type(&file, path)?;
        let path = final_path(&file).map_err(|error| unreadable(path, error))?;
        location::check(&path)?;
        let bytes = read(&file).map_err(|error| unreadable(&path, error))?;
        Ok(Some(Self {
            sha256: Sha256::digest(&bytes).into(),
            file,
            path,
            bytes,
        }))
    }

    /// The handle, valid while this value exists.
    pub(super) fn handle(&self) -> HANDLE {
        HANDLE(self.file.as_raw_handle())
    }
}

/// The directories of this process, if Windows returns them.
pub(super) fn folders() -> Folders {
    let program = std::env::current_exe().ok();
    Folders {
        program: program.and_then(|program| Some(program.parent()?.to_owned())),
        system: wide_text(|buffer| {
            // SAFETY: the buffer is writable for its whole length, which is passed along with it.
            unsafe { GetSystemDirectoryW(Some(buffer)) }
        })
        .ok(),
    }
}

fn check_type(file: &File, path: &Path) -> Result<(), NativeFailure> {
    // SAFETY: the handle is that of a file that is open during the call.
    let kind = unsafe { GetFileType(HANDLE(file.as_raw_handle())) };
    if kind == FILE_TYPE_DISK {
        return Ok(());
    }
    Err(NativeFailure::PathRejected {
        path: path.to_owned(),
        reason: "it is a device or a pipe",
    })
}

fn final_path(file: &File) -> io::Result<PathBuf> {
    wide_text(|buffer| {
        // SAFETY: the handle is of a file that is open during the call; the buffer is writable for its whole length,
        // which is passed along with it.
        unsafe {
            GetFinalPathNameByHandleW(HANDLE(file.as_raw_handle()), buffer, FILE_NAME_NORMALIZED)
        }
    })
}

/// A path from a function that fills a buffer and returns the length of the text, 0 on failure.
fn wide_text(fill: impl FnOnce(&mut [u16]) -> u32) -> io::Result<PathBuf> {
    let mut buffer = vec![0; MAX_PATH];
    let length = usize::try_from(fill(&mut buffer)).unwrap_or(0);
    match buffer.get(..length) {
        Some([]) => Err(io::Error::last_os_error()),
        Some(text) => Ok(OsString::from_wide(text).into()),
        None => Err(io::ErrorKind::InvalidFilename.into()),
    }
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if read as u64 > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: io::Error) -> NativeFailure {
    NativeFailure::Unreadable {
        path: path.to_owned(),
        cause: error.into(),
    }
}

/// The longest path of Windows, in UTF-16 units.
const MAX_PATH: usize = 32_768;
/// Ten times the size of the library, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_devices_and_pipes_before_reading() {
        let opened = HeldFile::open(Path::new(r"\\.\NUL"));
        let Err(NativeFailure::PathRejected { reason, .. }) = opened else {
            panic!("a device was opened as a file");
        };
        assert_eq!(reason, "it is a device or a pipe");
    }
}
