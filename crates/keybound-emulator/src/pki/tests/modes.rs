//! The permissions of the stored CA.
use super::LOCALHOST;
use crate::pki::Pki;
use crate::start_error::StartError;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

#[test]
fn stores_the_key_with_mode_0600() {
    let folder = tempfile::tempdir().unwrap();
    let stored = folder.path().join("state");
    drop(Pki::new(Some(&stored), LOCALHOST).unwrap());
    let mode = |name: &str| {
        fs::metadata(stored.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("."), mode("ca-key.pem"), mode("ca.pem")),
        (0o700, 0o600, 0o644)
    );
    let ca = fs::read_to_string(stored.join("ca.pem")).unwrap();
    assert!(!ca.contains("PRIVATE"));
}

#[test]
fn rejects_a_key_file_that_others_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Pki::new(Some(folder.path()), LOCALHOST)
        .unwrap()
        .ca_pem()
        .to_vec();
    let key_file = folder.path().join("ca-key.pem");
    set_mode(&key_file, 0o640);
    let Err(StartError::StateDir { problem, .. }) = Pki::new(Some(folder.path()), LOCALHOST) else {
        panic!("the directory was accepted");
    };
    assert!(problem.contains("mode 0600"), "{problem}");
    set_mode(&key_file, 0o600);
    assert_eq!(
        Pki::new(Some(folder.path()), LOCALHOST).unwrap().ca_pem(),
        ca
    );
}

/// The reported problem of a state directory.
fn problem(folder: &Path) -> &'static str {
    match Pki::new(Some(folder), LOCALHOST) {
        Err(StartError::StateDir { problem, .. }) => problem,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the directory was accepted"),
    }
}

#[test]
fn rejects_a_folder_that_others_can_write() {
    for mode in [0o777, 0o1777, 0o770, 0o702, 0o720] {
        let folder = tempfile::tempdir().unwrap();
        drop(Pki::new(Some(folder.path()), LOCALHOST).unwrap());
        set_mode(folder.path(), mode);
        let expected = "others can write to the directory: remove ca.pem and ca-key.pem from it and give it mode 0700";
        assert_eq!(problem(folder.path()), expected, "{mode:o}");
        // No key is created there either.
        fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
        fs::remove_file(folder.path().join("ca.pem")).unwrap();
        assert_eq!(problem(folder.path()), expected, "{mode:o}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        for mode in [0o700, 0o755] {
            set_mode(folder.path(), mode);
            drop(Pki::new(Some(folder.path()), LOCALHOST).unwrap());
        }
    }
}

#[test]
fn rejects_a_certificate_file_that_others_can_write() {
    let folder = tempfile::tempdir().unwrap();
    drop(Pki::new(Some(folder.path()), LOCALHOST).unwrap());
    let ca_file = folder.path().join("ca.pem");
    for mode in [0o664, 0o646, 0o666] {
        set_mode(&ca_file, mode);
        assert_eq!(
            problem(folder.path()),
            "ca.pem can be written to by others: remove ca.pem and ca-key.pem to get a new CA",
            "{mode:o}"
        );
    }
    for mode in [0o600, 0o444, 0o755] {
        set_mode(&ca_file, mode);
        drop(Pki::new(Some(folder.path()), LOCALHOST).unwrap());
    }
}

/// Only root can give files away, so that others see the rule alone (`trusts_the_user_and_root`).
#[test]
fn rejects_files_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let other = Some(65534);
    let folder = tempfile::tempdir().unwrap();
    drop(Pki::new(Some(folder.path()), LOCALHOST).unwrap());
    let key_file = folder.path().join("ca-key.pem");
    chown(&key_file, other, None).unwrap();
    assert_eq!(problem(folder.path()), "ca-key.pem belongs to another user");
    // The target of a link is checked.
    let real = folder.path().join("real.pem");
    fs::rename(&key_file, &real).unwrap();
    symlink(&real, &key_file).unwrap();
    assert_eq!(problem(folder.path()), "ca-key.pem belongs to another user");
    chown(&real, Some(0), None).unwrap();
    drop(Pki::new(Some(folder.path()), LOCALHOST).unwrap());
    let ca_file = folder.path().join("ca.pem");
    chown(&ca_file, other, None).unwrap();
    assert_eq!(problem(folder.path()), "ca.pem belongs to another user");
    chown(&ca_file, Some(0), None).unwrap();
    chown(folder.path(), other, None).unwrap();
    assert_eq!(
        problem(folder.path()),
        "the directory belongs to another user"
    );
    let link = folder.path().with_extension("link");
    symlink(folder.path(), &link).unwrap();
    let reported = problem(&link);
    fs::remove_file(&link).unwrap();
    assert_eq!(reported, "the directory belongs to another user");
}

#[test]
fn rejects_files_that_are_not_regular_without_blocking() {
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("ca-key.pem", "ca-key.pem cannot be read"),
        ("ca.pem", "ca.pem cannot be read"),
    ] {
        let file = folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        assert!(made.unwrap().success());
        assert_eq!(problem(folder.path()), expected);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(problem(folder.path()), expected);
        fs::remove_dir(&file).unwrap();
    }
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}
