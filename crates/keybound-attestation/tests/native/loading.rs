//! Which library is loaded, and which is not.
use crate::support::{Key, asked, attest, copy_of, failure, original, pinned, sha256};
use keybound_attestation::native::{
    LibraryPlace, LibraryTrust, NativeAttestation, NativeCode, NativeFailure,
};
use keybound_core::{Error, ErrorKind};
use std::fs::OpenOptions;
use std::os::windows::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use windows::Win32::System::LibraryLoader::GetModuleHandleW;
use windows::core::PCWSTR;

async fn refused(provider: &NativeAttestation) -> Error {
    attest(provider, &Key::keyguard()).await.unwrap_err()
}

#[tokio::test]
async fn a_library_that_is_not_signed_is_not_loaded() {
    let path = copy_of("stand_in.dll", "unsigned");
    let error = refused(&NativeAttestation::new().library(&path)).await;
    assert_eq!(error.kind(), ErrorKind::AttestationLibraryUnusable);
    let failure = failure(&error);
    assert!(
        matches!(failure, NativeFailure::SignatureRefused { .. }),
        "{failure}"
    );
    // It can be written: it is not in use.
    OpenOptions::new().write(true).open(&path).unwrap();
}

#[tokio::test]
async fn a_library_that_is_not_the_pinned_one_is_not_loaded() {
    let path = copy_of("stand_in.dll", "not-pinned");
    let other = NativeAttestation::new()
        .library(&path)
        .pinned_sha256([7; 32]);
    let error = refused(&other).await;
    assert_eq!(error.kind(), ErrorKind::AttestationLibraryUnusable);
    assert!(matches!(failure(&error), NativeFailure::NotAsPinned { .. }));
}

#[tokio::test]
async fn a_library_that_somebody_may_still_write_is_not_loaded() {
    let path = copy_of("stand_in.dll", "written");
    let provider = pinned(&path);
    let writer = OpenOptions::new().append(true).open(&path).unwrap();
    let error = refused(&provider).await;
    assert!(
        matches!(failure(&error), NativeFailure::Unreadable { .. }),
        "{error:?}"
    );
    drop(writer);
    attest(&provider, &Key::keyguard()).await.unwrap();
}

#[tokio::test]
async fn what_is_loaded_is_a_copy() {
    let path = copy_of("stand_in.dll", "copied");
    let provider = pinned(&path);
    attest(&provider, &Key::keyguard()).await.unwrap();
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the name is ended by NUL.
    let loaded = unsafe { GetModuleHandleW(PCWSTR(name.as_ptr())) };
    assert!(loaded.is_err(), "the file itself is loaded");
    // Not by another path either: it can be written.
    std::fs::write(&path, "another file").unwrap();
    let again = refused(&pinned(&path)).await;
    assert!(
        failure(&again).to_string().contains("start the program"),
        "{again:?}"
    );
}

#[tokio::test]
async fn damaged_files_and_other_architectures_are_reported() {
    let whole = std::fs::read(original("stand_in.dll")).unwrap();
    let mut foreign = whole.clone();
    let header = u32::from_le_bytes(foreign[0x3c..0x40].try_into().unwrap()) as usize;
    // The machine of the file's header: 32-bit x86 for x86_64.
    assert_eq!(foreign[header + 4..header + 6], [0x64, 0x86]);
    foreign[header + 4..header + 6].copy_from_slice(&[0x4c, 0x01]);
    for (name, bytes) in [
        ("foreign", &foreign[..]),
        ("cut", &whole[..whole.len() / 2]),
        ("header", &whole[..64]),
        ("nothing", b""),
        ("text", b"not a library at all"),
    ] {
        let path = copy_of("stand_in.dll", &format!("damaged-{name}"));
        std::fs::write(&path, bytes).unwrap();
        let error = refused(&pinned(&path)).await;
        assert_eq!(
            error.kind(),
            ErrorKind::AttestationLibraryUnusable,
            "{name}"
        );
        let failure = failure(&error);
        assert!(
            matches!(failure, NativeFailure::NotLoadable { .. }),
            "{name}: {failure}"
        );
    }
}

#[tokio::test]
async fn a_library_without_a_function_is_let_go_again() {
    let path = copy_of("without_free.dll", "without");
    let error = refused(&pinned(&path)).await;
    assert_eq!(error.kind(), ErrorKind::AttestationLibraryUnusable);
    let missing = failure(&error);
    assert!(
        matches!(
            missing,
            NativeFailure::ExportMissing {
                name: "FreeAttestationToken",
                ..
            }
        ),
        "{missing}"
    );
    // In its place another one can be put, and is used.
    std::fs::copy(original("stand_in.dll"), &path).unwrap();
    asked(&path, "token").await.unwrap();
}

#[tokio::test]
async fn a_library_that_does_not_start_is_reported_with_its_code() {
    let path = copy_of("not_starting.dll", "not-starting");
    let provider = pinned(&path);
    let error = refused(&provider).await;
    assert_eq!(error.kind(), ErrorKind::AttestationFailed);
    let failure = failure(&error);
    assert!(matches!(failure, NativeFailure::NotStarted(_)), "{failure}");
    assert_eq!(failure.code(), Some(NativeCode::new(-35)));
    let probe = provider.probe();
    let library = probe.library.unwrap();
    assert!(library.loaded && !library.started && probe.failure.is_some());
}

#[tokio::test]
async fn a_path_is_used_only_where_it_was_named_in_full() {
    for path in [
        "AttestationClientLib.dll",
        r"native\x.dll",
        r"\\127.0.0.1\share\x.dll",
    ] {
        let named = refused(&NativeAttestation::new().library(path)).await;
        let variable = refused(&NativeAttestation::new().library_from_environment(path)).await;
        for error in [named, variable] {
            assert_eq!(
                error.kind(),
                ErrorKind::AttestationLibraryUnusable,
                "{path}"
            );
            assert!(
                matches!(failure(&error), NativeFailure::PathRefused { .. }),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn without_a_name_the_programs_folders_and_system32_are_looked_at_only() {
    // The working folder holds one: it is not found.
    let error = refused(&NativeAttestation::new()).await;
    assert_eq!(error.kind(), ErrorKind::AttestationUnavailable);
    let NativeFailure::NotFound(places) = failure(&error) else {
        panic!("{error:?}");
    };
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap();
    let system = PathBuf::from(std::env::var_os("SystemRoot").unwrap()).join("system32");
    let folders = [program.to_owned(), program.join("native"), system];
    let expected: Vec<_> = folders
        .iter()
        .map(|folder| lower(&folder.join("AttestationClientLib.dll")))
        .collect();
    let places: Vec<_> = places.iter().map(|path| lower(path)).collect();
    assert_eq!(places, expected);
}

fn lower(path: &Path) -> String {
    path.to_string_lossy().to_lowercase()
}

#[test]
fn the_probe_tells_what_was_found_and_how_far_it_came() {
    let path = copy_of("stand_in.dll", "probed");
    let probe = pinned(&path).probe();
    assert!(probe.failure.is_none(), "{probe:?}");
    assert_eq!(probe.places.len(), 1);
    assert_eq!(probe.places[0].place, LibraryPlace::Named);
    assert_eq!(probe.places[0].found, Some(true));
    let library = probe.library.unwrap();
    assert_eq!(library.sha256, sha256(&path));
    assert_eq!(library.trust, Some(LibraryTrust::Pinned));
    assert!(library.loaded && library.started);

    let missing = path.with_file_name("missing.dll");
    let probe = NativeAttestation::new()
        .library_from_environment(&missing)
        .probe();
    assert_eq!(probe.places[0].place, LibraryPlace::Environment);
    assert_eq!(probe.places[0].found, Some(false));
    assert!(probe.library.is_none());
    let failure = probe.failure.unwrap();
    assert_eq!(failure.kind(), ErrorKind::AttestationUnavailable);
}

#[test]
fn a_library_that_is_refused_is_probed_without_being_loaded() {
    let path = copy_of("stand_in.dll", "probed-unsigned");
    let probe = NativeAttestation::new().library(&path).probe();
    let library = probe.library.unwrap();
    assert_eq!(library.sha256, sha256(&path));
    assert!(library.trust.is_none() && !library.loaded && !library.started);
    let failure = probe.failure.unwrap();
    assert_eq!(failure.kind(), ErrorKind::AttestationLibraryUnusable);
}
