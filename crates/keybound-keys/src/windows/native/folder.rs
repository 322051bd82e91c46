//! Folders that no other account may use.
use super::account::{Account, Protection, owner_of};
use super::status;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;
use windows::Win32::Foundation::{ERROR_ALREADY_EXISTS, HANDLE};
use windows::Win32::Security::Authorization::SE_FILE_OBJECT;
use windows::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_FLAG_BACKUP_SEMANTICS, READ_CONTROL,
};
use windows::core::HSTRING;

/// Makes a folder, with those that it is in, which only this account, SYSTEM and administrators may use; files that are made in
/// it inherit that. A folder that is there keeps its permissions. Returns whether the folder belongs to one of these three.
///
/// # Errors
/// Those of making the folder, or of reading the owner of one that is there.
pub fn make_private_folder(path: &Path) -> io::Result<bool> {
    let account = Account::current().map_err(io::Error::other)?;
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::create_dir_all(parent)?;
    }
    let protection = Protection::from_sddl(&sddl(&account)).map_err(io::Error::other)?;
    let attributes = protection.attributes();
    // SAFETY: the path ends with a zero; the attributes and what they point to live through the call.
    let made = unsafe {
        CreateDirectoryW(
            &HSTRING::from(path.as_os_str()),
            Some(&raw const attributes),
        )
    };
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.code() == ERROR_ALREADY_EXISTS.to_hresult() => {
            belongs_to(path, &account)
        }
        Err(error) => Err(io::Error::other(status(&error))),
    }
}

fn belongs_to(path: &Path, account: &Account) -> io::Result<bool> {
    let folder = OpenOptions::new()
        .access_mode(READ_CONTROL.0)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS.0)
        .open(path)?;
    if !folder.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    // SAFETY: the handle is open, with the right to read the owner.
    let owner = unsafe { owner_of(HANDLE(folder.as_raw_handle()), SE_FILE_OBJECT) }
        .map_err(io::Error::other)?;
    Ok(owner.is_some_and(|owner| is_trusted(&owner, account)))
}

/// SYSTEM and administrators may do as they like anyway.
fn is_trusted(owner: &str, account: &Account) -> bool {
    [&*account.user, SYSTEM, ADMINISTRATORS].contains(&owner)
}

fn sddl(account: &Account) -> String {
    let user = &account.user;
    format!("O:{user}D:P(A;OICI;FA;;;{user})(A;OICI;FA;;;{SYSTEM})(A;OICI;FA;;;{ADMINISTRATORS})")
}

const SYSTEM: &str = "S-1-5-18";
const ADMINISTRATORS: &str = "S-1-5-32-544";

#[cfg(test)]
mod tests {
    use super::*;

    /// As Windows shows it, with the owner that it gave.
    fn shown(path: &Path) -> String {
        let folder = OpenOptions::new()
            .access_mode(READ_CONTROL.0)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS.0)
            .open(path)
            .unwrap();
        // SAFETY: the handle is open, with the right to read this.
        unsafe { Protection::of_object(HANDLE(folder.as_raw_handle()), SE_FILE_OBJECT) }.to_sddl()
    }

    #[test]
    fn a_new_folder_admits_no_other_account() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a").join("b");
        assert!(make_private_folder(&path).unwrap());
        let user = Account::current().unwrap().user;
        let shown = shown(&path);
        assert!(shown.starts_with(&format!("O:{user}D:")), "{shown}");
        // Everybody, users, authenticated users.
        for other in [
            "WD)",
            "S-1-1-0)",
            "BU)",
            "S-1-5-32-545)",
            "AU)",
            "S-1-5-11)",
        ] {
            assert!(!shown.contains(other), "{shown}");
        }
        assert!(make_private_folder(&path).unwrap());
    }

    #[test]
    fn files_in_it_inherit_its_permissions() {
        let account = Account {
            user: "S-1-5-21-1-2-3-1001".to_owned(),
            default_owner: ADMINISTRATORS.to_owned(),
        };
        let shown = Protection::from_sddl(&sddl(&account)).unwrap().to_sddl();
        let expected = "O:S-1-5-21-1-2-3-1001D:P(A;OICI;FA;;;S-1-5-21-1-2-3-1001)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_folder_of_another_account_is_told() {
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
    fn a_file_is_no_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(make_private_folder(&path).is_err());
    }
}
