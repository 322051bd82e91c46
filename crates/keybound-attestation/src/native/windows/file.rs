//! A file that is read and held open.
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

/// An open file that nobody can open to write, delete or rename while this value lives. Who mapped it to memory before can
/// still change it: see [`PrivateCopy`](super::copy::PrivateCopy).
pub(super) struct HeldFile {
    file: File,
    /// Without links, in the form that Windows takes literally (`\\?\C:\…`): it names this file and no other.
    pub(super) path: PathBuf,
    /// As it was read once.
    pub(super) bytes: Vec<u8>,
    /// Of these bytes.
    pub(super) sha256: [u8; 32],
}

impl HeldFile {
    /// Opens a file; `None` where there is none.
    ///
    /// # Errors
    /// [`NativeFailure::Unreadable`] where it cannot be read, or somebody has it open for writing;
    /// [`NativeFailure::PathRefused`] where it is not a plain file on a drive of this host in the end.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, NativeFailure> {
        let opened = OpenOptions::new()
            .read(true)
            .share_mode(FILE_SHARE_READ.0)
            // A link may lead to a pipe, whose server must not act as this account.
            .security_qos_flags(SECURITY_IDENTIFICATION.0)
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, error)),
        };
        // Before it is read, for which a pipe would wait.
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

    /// For as long as the value lives.
    pub(super) fn handle(&self) -> HANDLE {
        HANDLE(self.file.as_raw_handle())
    }
}

/// The folders of this process; one that Windows does not name is left out.
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
    // SAFETY: the handle is of a file that is open during the call.
    let kind = unsafe { GetFileType(HANDLE(file.as_raw_handle())) };
    if kind == FILE_TYPE_DISK {
        return Ok(());
    }
    Err(NativeFailure::PathRefused {
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

/// A path from a function that fills a buffer and returns the length of the text, 0 where it fails.
fn wide_text(fill: impl FnOnce(&mut [u16]) -> u32) -> io::Result<PathBuf> {
    let mut buffer = vec![0; LONGEST_PATH];
    let length = usize::try_from(fill(&mut buffer)).unwrap_or(0);
    match buffer.get(..length) {
        Some([]) => Err(io::Error::last_os_error()),
        Some(text) => Ok(OsString::from_wide(text).into()),
        None => Err(io::ErrorKind::InvalidFilename.into()),
    }
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if read as u64 > LARGEST_FILE {
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

/// In UTF-16 units: the longest path of Windows.
const LONGEST_PATH: usize = 32_768;
/// In bytes: ten times the library.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_pipes_are_refused_before_they_are_read() {
        let opened = HeldFile::open(Path::new(r"\\.\NUL"));
        let Err(NativeFailure::PathRefused { reason, .. }) = opened else {
            panic!("a device was taken for a file");
        };
        assert_eq!(reason, "it is a device or a pipe");
    }
}
