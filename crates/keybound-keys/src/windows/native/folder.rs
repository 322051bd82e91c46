//! Directories and files that no other account can modify.
use super::account::{Account, Protection, owner_of};
use super::status;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;
use windows::Win32::Foundation::{ERROR_ALREADY_EXISTS, HANDLE};
use windows::Win32::Security::Authorization::SE_FILE_OBJECT;
use windows::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_READ, FILE_SHARE_WRITE, SECURITY_IDENTIFICATION,
};
use windows::core::HSTRING;

/// Creates a directory that only this account, SYSTEM and administrators can access; files in it inherit the permissions. Missing
/// parent directories are created with inherited permissions. An existing directory keeps its permissions.
///
/// Returns the open directory, or `None` if it belongs to none of these three. While it is open, neither it nor a parent directory
/// can be renamed or removed.
///
/// # Errors
/// Those of creating or opening the directory, or of reading its owner; a link or another reparse point is not opened.
pub fn make_private_folder(path: &Path) -> io::Result<Option<File>> {
    let account = Account::current().map_err(io::Error::other)?;
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::create_dir_all(parent)?;
    }
    create(path, &account)?;
    let folder = open_folder(path)?;
    let is_own = belongs_to(&folder, &account)?;
    Ok(is_own.then_some(folder))
}

/// Opens a file for reading. Returns `None` if it belongs neither to this account nor to SYSTEM or administrators.
///
/// # Errors
/// Those of opening the file, or of reading its owner; a link or another reparse point is not opened.
pub fn open_private_file(path: &Path) -> io::Result<Option<File>> {
    let account = Account::current().map_err(io::Error::other)?;
    let file = open_file(path)?;
    let is_own = belongs_to(&file, &account)?;
    Ok(is_own.then_some(file))
}

/// Opens a file of a service of the system, directly in this folder, for reading. Returns `None` if folder or file belong to
/// another account than SYSTEM, administrators or a service. Neither can be replaced during the call.
///
/// # Errors
/// Those of opening folder and file, or of reading their owners; a link or another reparse point is not opened.
pub fn open_service_file(folder: &Path, name: &str) -> io::Result<Option<File>> {
    let parent = open_folder(folder)?;
    let file = open_file(&folder.join(name))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let owners = [owner(&parent)?, owner(&file)?];
    Ok(are_of_system(&owners).then_some(file))
}

/// While it is open, neither it nor a parent folder can be renamed or removed.
fn open_folder(path: &Path) -> io::Result<File> {
    let folder = OpenOptions::new()
        .read(true)
        .share_mode(FILE_SHARE_READ.0 | FILE_SHARE_WRITE.0)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS.0 | FILE_FLAG_OPEN_REPARSE_POINT.0)
        .open(path)?;
    let metadata = folder.metadata()?;
    reject_reparse_point(metadata.file_attributes())?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(folder)
}

fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT.0)
        .security_qos_flags(SECURITY_IDENTIFICATION.0)
        .open(path)?;
    reject_reparse_point(file.metadata()?.file_attributes())?;
    Ok(file)
}

fn create(path: &Path, account: &Account) -> io::Result<()> {
    let protection = Protection::from_sddl(&sddl(account)).map_err(io::Error::other)?;
    let attributes = protection.attributes();
    // SAFETY: the path is zero-terminated; the attributes and their security descriptor outlive the call.
    let created = unsafe {
        CreateDirectoryW(
            &HSTRING::from(path.as_os_str()),
            Some(&raw const attributes),
        )
    };
    match created {
        Err(error) if error.code() != ERROR_ALREADY_EXISTS.to_hresult() => {
            Err(io::Error::other(status(&error)))
        }
        _ => Ok(()),
    }
}

fn reject_reparse_point(attributes: u32) -> io::Result<()> {
    if attributes & FILE_ATTRIBUTE_REPARSE_POINT.0 != 0 {
        return Err(io::Error::other("it is a link or another reparse point"));
    }
    Ok(())
}

fn belongs_to(object: &File, account: &Account) -> io::Result<bool> {
    Ok(owner(object)?.is_some_and(|owner| is_trusted(&owner, account)))
}

fn owner(object: &File) -> io::Result<Option<String>> {
    // SAFETY: the handle is open for reading, which includes the right to read the owner.
    unsafe { owner_of(HANDLE(object.as_raw_handle()), SE_FILE_OBJECT) }.map_err(io::Error::other)
}

/// SYSTEM and administrators have access to everything anyway.
fn is_trusted(owner: &str, account: &Account) -> bool {
    owner == account.user || [SYSTEM, ADMINISTRATORS].contains(&owner)
}

/// Whether each object belongs to SYSTEM, administrators or a service; one without an owner does not.
fn are_of_system(owners: &[Option<String>]) -> bool {
    let is_of_system =
        |owner: &str| [SYSTEM, ADMINISTRATORS].contains(&owner) || owner.starts_with(SERVICES);
    let mut owners = owners.iter();
    owners.all(|owner| owner.as_deref().is_some_and(is_of_system))
}

fn sddl(account: &Account) -> String {
    let user = &account.user;
    format!("O:{user}D:P(A;OICI;FA;;;{user})(A;OICI;FA;;;{SYSTEM})(A;OICI;FA;;;{ADMINISTRATORS})")
}

const SYSTEM: &str = "S-1-5-18";
const ADMINISTRATORS: &str = "S-1-5-32-544";
/// The accounts of services, such as NT SERVICE\himds.
const SERVICES: &str = "S-1-5-80-";

#[cfg(test)]
mod tests {
    use super::*;
    use windows::Win32::Storage::FileSystem::READ_CONTROL;

    /// The owner and permissions of a directory.
    fn sddl_of(path: &Path) -> String {
        let folder = OpenOptions::new()
            .access_mode(READ_CONTROL.0)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS.0)
            .open(path)
            .unwrap();
        // SAFETY: the handle is open, with the right to read the descriptor.
        unsafe { Protection::of_object(HANDLE(folder.as_raw_handle()), SE_FILE_OBJECT) }.to_sddl()
    }

    #[test]
    fn a_new_folder_denies_access_to_other_accounts() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a").join("b");
        assert!(make_private_folder(&path).unwrap().is_some());
        let user = Account::current().unwrap().user;
        let sddl = sddl_of(&path);
        assert!(sddl.starts_with(&format!("O:{user}D:")), "{sddl}");
        // Everybody, users, authenticated users.
        for other in [
            "WD)",
            "S-1-1-0)",
            "BU)",
            "S-1-5-32-545)",
            "AU)",
            "S-1-5-11)",
        ] {
            assert!(!sddl.contains(other), "{sddl}");
        }
        assert!(make_private_folder(&path).unwrap().is_some());
    }

    #[test]
    fn an_open_folder_cannot_be_renamed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a").join("b");
        let folder = make_private_folder(&path).unwrap().unwrap();
        let other = parent.path().join("c");
        fs::rename(&path, &other).unwrap_err();
        drop(folder);
        fs::rename(&path, &other).unwrap();
    }

    #[test]
    fn rejects_links() {
        for (attributes, rejected) in [(0x10, false), (0x20, false), (0x410, true), (0x420, true)] {
            assert_eq!(reject_reparse_point(attributes).is_err(), rejected);
        }
        let parent = tempfile::tempdir().unwrap();
        let (folder, file) = (parent.path().join("a"), parent.path().join("a").join("b"));
        drop(make_private_folder(&folder).unwrap());
        fs::write(&file, "").unwrap();
        assert!(open_private_file(&file).unwrap().is_some());
        let (to_folder, to_file) = (parent.path().join("c"), parent.path().join("d"));
        let created = std::os::windows::fs::symlink_dir(&folder, &to_folder)
            .and_then(|()| std::os::windows::fs::symlink_file(&file, &to_file))
            .and_then(|()| fs::symlink_metadata(&to_file));
        // Not every Windows lets its users create links, and Wine reports success without creating one.
        if created.is_ok() {
            make_private_folder(&to_folder).unwrap_err();
            open_private_file(&to_file).unwrap_err();
            open_service_file(parent.path(), "d").unwrap_err();
            open_service_file(&to_folder, "b").unwrap_err();
        }
    }

    #[test]
    fn files_inherit_the_permissions_of_the_folder() {
        let account = Account {
            user: "S-1-5-21-1-2-3-1001".to_owned(),
            default_owner: ADMINISTRATORS.to_owned(),
        };
        let inherited = Protection::from_sddl(&sddl(&account)).unwrap().to_sddl();
        let expected = "O:S-1-5-21-1-2-3-1001D:P(A;OICI;FA;;;S-1-5-21-1-2-3-1001)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
        assert_eq!(inherited, expected);
    }

    #[test]
    fn trusts_only_this_account_system_and_administrators() {
        let account = Account::current().unwrap();
        for owner in [&*account.user, SYSTEM, ADMINISTRATORS] {
            assert!(is_trusted(owner, &account), "{owner}");
        }
        for owner in [
            "S-1-1-0",
            "S-1-5-11",
            "S-1-5-32-545",
            "S-1-5-21-1-2-3-1001",
            "",
        ] {
            assert!(!is_trusted(owner, &account), "{owner}");
        }
    }

    #[test]
    fn service_files_belong_to_system_administrators_or_services() {
        let service = "S-1-5-80-1-2-3-4-5";
        let user = "S-1-5-21-1-2-3-1001";
        for (folder, file, accepted) in [
            (Some(SYSTEM), Some(SYSTEM), true),
            (Some(SYSTEM), Some(service), true),
            (Some(ADMINISTRATORS), Some(ADMINISTRATORS), true),
            (Some(service), Some(service), true),
            (Some(user), Some(SYSTEM), false),
            (Some(SYSTEM), Some(user), false),
            (Some(user), Some(user), false),
            (None, Some(SYSTEM), false),
            (Some(SYSTEM), None, false),
            // Everybody, an account whose id begins as that of services, users.
            (Some(SYSTEM), Some("S-1-1-0"), false),
            (Some(SYSTEM), Some("S-1-5-8"), false),
            (Some(SYSTEM), Some("S-1-5-32-545"), false),
            (Some(SYSTEM), Some(""), false),
        ] {
            let owners = [folder, file].map(|owner| owner.map(str::to_owned));
            assert_eq!(are_of_system(&owners), accepted, "{owners:?}");
        }
    }

    #[test]
    fn service_file_is_a_regular_file_of_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.key"), "swordfish").unwrap();
        // Of an administrator on Windows, whose files belong to the group.
        let account = Account::current().unwrap();
        let opened = open_service_file(folder.path(), "a.key").unwrap();
        match are_of_system(&[Some(account.default_owner)]) {
            true => assert_eq!(io::read_to_string(opened.unwrap()).unwrap(), "swordfish"),
            false => assert!(opened.is_none()),
        }
        fs::create_dir(folder.path().join("b.key")).unwrap();
        for name in ["b.key", "missing.key"] {
            open_service_file(folder.path(), name).unwrap_err();
        }
        open_service_file(&folder.path().join("a.key"), "a.key").unwrap_err();
    }

    #[test]
    fn rejects_a_file_in_place_of_a_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(make_private_folder(&path).is_err());
    }
}
