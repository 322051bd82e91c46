//! Who may read what is kept.
use crate::error::StartError;
use crate::pki::Pki;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

#[test]
fn the_key_of_a_kept_ca_is_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("state");
    drop(Pki::new(Some(&kept)).unwrap());
    let mode = |name: &str| fs::metadata(kept.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("."), mode("ca-key.pem"), mode("ca.pem")),
        (0o700, 0o600, 0o644)
    );
    let ca = fs::read_to_string(kept.join("ca.pem")).unwrap();
    assert!(!ca.contains("PRIVATE"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Pki::new(Some(folder.path())).unwrap().ca_pem().to_vec();
    let key_file = folder.path().join("ca-key.pem");
    set_mode(&key_file, 0o640);
    let Err(StartError::StateDir { problem, .. }) = Pki::new(Some(folder.path())) else {
        panic!("it was taken");
    };
    assert!(problem.contains("mode 0600"), "{problem}");
    set_mode(&key_file, 0o600);
    assert_eq!(Pki::new(Some(folder.path())).unwrap().ca_pem(), ca);
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}
