use super::file::HeldFile;
use crate::native::NativeFailure;
use keybound_keys::windows::make_private_folder;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A copy of a file's bytes that only this account, SYSTEM and administrators can have written: it is what is checked and loaded.
///
/// The file itself does not do. Who may write it can have mapped it to memory before: that shows in no handle, is not stopped by
/// sharing, and changes the file after the check.
pub(super) struct PrivateCopy {
    pub(super) file: HeldFile,
    /// While it is open, nobody can put another folder in its place.
    _folder: File,
}

impl PrivateCopy {
    /// Makes the copy, or opens the one that an earlier process of this account made of the same bytes at the same path.
    ///
    /// # Errors
    /// [`NativeFailure::NotLoadable`] where there is none in the end.
    pub(super) fn of(original: &HeldFile) -> Result<Self, NativeFailure> {
        Self::below(&base(), original).map_err(|cause| NativeFailure::NotLoadable {
            path: original.path.clone(),
            reason: "its copy, which is what is loaded, could not be made in a folder of this account's",
            cause: cause.into(),
        })
    }

    fn below(base: &Path, original: &HeldFile) -> io::Result<Self> {
        let path = base.join("Keybound").join(name(original));
        let folder = make_private_folder(&path)?
            .ok_or_else(|| io::Error::other("the folder belongs to another account"))?;
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

/// `None` where there is none of these bytes.
fn open(path: &Path, original: &HeldFile) -> io::Result<Option<HeldFile>> {
    let copy = HeldFile::open(path).map_err(io::Error::other)?;
    Ok(copy.filter(|copy| copy.sha256 == original.sha256))
}

/// Another process may do the same: there is a whole file of that name, or none.
fn write(folder: &Path, file: &Path, original: &HeldFile) -> io::Result<()> {
    let new = folder.join(format!("{}.new", std::process::id()));
    fs::write(&new, &original.bytes)?;
    if let Err(error) = fs::rename(&new, file) {
        tracing::debug!(%error, "the copy of the attestation library was not put in its place");
        return fs::remove_file(&new);
    }
    Ok(())
}

/// One folder for each file and content: a process has one library for each path, and starts it once.
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

/// The account's own folder. A KeyGuard key needs the account's profile, so that this is there.
fn base() -> PathBuf {
    let local = std::env::var_os("LOCALAPPDATA").map(PathBuf::from);
    local
        .filter(|path| path.is_absolute())
        .unwrap_or_else(std::env::temp_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's.
    fn folder(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("keybound-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_the_file_becomes_after_it_was_read_is_not_copied() {
        let folder = folder("read");
        let path = folder.join("a.dll");
        fs::write(&path, "changed").unwrap();
        // As through memory that was mapped before, which Wine does not allow.
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
    fn a_copy_is_used_again_and_one_of_other_bytes_is_replaced() {
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
        // Nothing else is left.
        assert_eq!(fs::read_dir(copied.parent().unwrap()).unwrap().count(), 1);
        drop((original, third));
        fs::remove_dir_all(folder).unwrap();
    }
}
