use super::held_file::HeldFile;
use crate::native::NativeFailure;
use keybound_keys::windows::make_private_folder;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A copy of a file that only this account, SYSTEM and administrators can write. It is verified and loaded instead of the file.
///
/// The file itself is not safe: an account that can write it may have mapped it to memory before. A mapping is not visible in
/// handles, is not prevented by the share mode, and changes the file after its verification.
pub(super) struct PrivateCopy {
    pub(super) file: HeldFile,
    /// While it is open, the directory cannot be replaced.
    _folder: File,
}

impl PrivateCopy {
    /// Creates the copy, or opens the one that an earlier process of this account created of the same bytes and path.
    ///
    /// # Errors
    /// [`NativeFailure::LoadFailed`] if neither is possible.
    pub(super) fn of(original: &HeldFile) -> Result<Self, NativeFailure> {
        Self::below(&base(), original).map_err(|cause| NativeFailure::LoadFailed {
            path: original.path.clone(),
            reason: "no copy could be created in a directory of this account",
            cause: cause.into(),
        })
    }

    fn below(base: &Path, original: &HeldFile) -> io::Result<Self> {
        let path = base.join("Keybound").join(name(original));
        let folder = make_private_folder(&path)?
            .ok_or_else(|| io::Error::other("the directory belongs to another account"))?;
        let file = path.join("AttestationClientLib.dll");
        let file = match open(&file, original)? {
            Some(copy) => copy,
            None => {
                write(&path, &file, original)?;
                open(&file, original)?.ok_or(io::ErrorKind::InvalidData)?
            }
        };
        Ok(Self {
            file,
            _folder: folder,
        })
    }
}

/// `None` if there is no copy, or one of other bytes.
fn open(path: &Path, original: &HeldFile) -> io::Result<Option<HeldFile>> {
    let copy = HeldFile::open(path).map_err(io::Error::other)?;
    Ok(copy.filter(|copy| copy.sha256 == original.sha256))
}

/// Writes the copy atomically: another process may do the same.
fn write(folder: &Path, file: &Path, original: &HeldFile) -> io::Result<()> {
    let new = folder.join(format!("{}.new", std::process::id()));
    fs::write(&new, &original.bytes)?;
    if let Err(error) = fs::rename(&new, file) {
        tracing::debug!(%error, "the copy of the attestation library could not be renamed");
        return fs::remove_file(&new);
    }
    Ok(())
}

/// One directory for each path and content: a process loads one library for each path and starts it once.
fn name(original: &HeldFile) -> String {
    let mut hash = Sha256::new();
    hash.update(original.path.as_os_str().as_encoded_bytes());
    hash.update(original.sha256);
    let hash = hash.finalize();
    let mut name = "attestation-".to_owned();
    for byte in &hash[..16] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The account's local directory. It exists, as KeyGuard keys need the account's profile.
fn base() -> PathBuf {
    let local = std::env::var_os("LOCALAPPDATA").map(PathBuf::from);
    local
        .filter(|path| path.is_absolute())
        .unwrap_or_else(std::env::temp_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory for this test.
    fn folder(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("keybound-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn copies_the_bytes_that_were_read() {
        let folder = folder("read");
        let path = folder.join("a.dll");
        fs::write(&path, "changed").unwrap();
        // As by an earlier memory mapping, which Wine does not allow.
        let mut original = HeldFile::open(&path).unwrap().unwrap();
        original.bytes = b"checked".to_vec();
        original.sha256 = Sha256::digest("checked").into();
        let copy = PrivateCopy::below(&folder, &original).unwrap();
        assert_eq!(fs::read(&copy.file.path).unwrap(), b"checked");
        assert_eq!(copy.file.sha256, original.sha256);
        drop((original, copy));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn reuses_copy_and_replaces_one_of_other_bytes() {
        let folder = folder("again");
        let path = folder.join("a.dll");
        fs::write(&path, "library").unwrap();
        let original = HeldFile::open(&path).unwrap().unwrap();
        let first = PrivateCopy::below(&folder, &original).unwrap();
        let second = PrivateCopy::below(&folder, &original).unwrap();
        assert_eq!(first.file.path, second.file.path);
        let copied = first.file.path.clone();
        drop((first, second));
        fs::write(&copied, "lib").unwrap();
        let third = PrivateCopy::below(&folder, &original).unwrap();
        assert_eq!(fs::read(&third.file.path).unwrap(), b"library");
        // No temporary file remains.
        assert_eq!(fs::read_dir(copied.parent().unwrap()).unwrap().count(), 1);
        drop((original, third));
        fs::remove_dir_all(folder).unwrap();
    }
}
