//! Which libraries are loaded.
use crate::support::{Key, attest, attest_with, copy_of, failure, original, pinned, sha256};
use keybound_attestation::native::{
    LibraryPlace, LibraryTrust, NativeAttestation, NativeCode, NativeFailure,
};
use keybound_core::{Error, ErrorKind};
use std::fs::OpenOptions;
use std::os::windows::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use windows::Win32::System::LibraryLoader::GetModuleHandleW;
use windows::core::PCWSTR;

async fn attest_error(provider: &NativeAttestation) -> Error {
    attest(provider, &Key::keyguard()).await.unwrap_err()
}

#[tokio::test]
async fn does_not_load_unsigned_library() {
    let path = copy_of("fake_library.dll", "unsigned");
    let error = attest_error(&NativeAttestation::new().library(&path)).await;
    assert_eq!(error.kind(), ErrorKind::AttestationLibraryUnusable);
    let failure = failure(&error);
    assert!(
        matches!(failure, NativeFailure::SignatureRejected { .. }),
        "{failure}"
    );
    // The file is not open.
    OpenOptions::new().write(true).open(&path).unwrap();
}

#[tokio::test]
async fn does_not_load_library_with_another_hash() {
    let path = copy_of("fake_library.dll", "not-pinned");
    let other = NativeAttestation::new()
        .library(&path)
        .pinned_sha256([7; 32]);
    let error = attest_error(&other).await;
    assert_eq!(error.kind(), ErrorKind::AttestationLibraryUnusable);
    assert!(matches!(
        failure(&error),
        NativeFailure::HashMismatch { .. }
    ));
}

#[tokio::test]
async fn does_not_load_library_open_for_writing() {
    let path = copy_of("fake_library.dll", "written");
    let provider = pinned(&path);
    let writer = OpenOptions::new().append(true).open(&path).unwrap();
    let error = attest_error(&provider).await;
    assert!(
        matches!(failure(&error), NativeFailure::Unreadable { .. }),
        "{error:?}"
    );
    drop(writer);
    attest(&provider, &Key::keyguard()).await.unwrap();
}

#[tokio::test]
async fn loads_a_copy() {
    let path = copy_of("fake_library.dll", "copied");
    let provider = pinned(&path);
    attest(&provider, &Key::keyguard()).await.unwrap();
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the name ends with NUL.
    let loaded = unsafe { GetModuleHandleW(PCWSTR(name.as_ptr())) };
    assert!(loaded.is_err(), "the file itself is loaded");
    // Nor is it open: it can be written.
    std::fs::write(&path, "another file").unwrap();
    let again = attest_error(&pinned(&path)).await;
    assert!(
        failure(&again).to_string().contains("start the program"),
        "{again:?}"
    );
}

#[tokio::test]
async fn reports_damaged_files_and_other_architectures() {
    let whole = std::fs::read(original("fake_library.dll")).unwrap();
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
        let path = copy_of("fake_library.dll", &format!("damaged-{name}"));
        std::fs::write(&path, bytes).unwrap();
        let error = attest_error(&pinned(&path)).await;
        assert_eq!(
            error.kind(),
            ErrorKind::AttestationLibraryUnusable,
            "{name}"
        );
        let failure = failure(&error);
        assert!(
            matches!(failure, NativeFailure::LoadFailed { .. }),
            "{name}: {failure}"
        );
    }
}

#[tokio::test]
async fn unloads_library_without_required_function() {
    let path = copy_of("without_free.dll", "without");
    let error = attest_error(&pinned(&path)).await;
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
    // Another file can replace it and is used.
    std::fs::copy(original("fake_library.dll"), &path).unwrap();
    attest_with(&path, "token").await.unwrap();
}

#[tokio::test]
async fn reports_code_of_library_that_does_not_start() {
    let path = copy_of("not_starting.dll", "not-starting");
    let provider = pinned(&path);
    let error = attest_error(&provider).await;
    assert_eq!(error.kind(), ErrorKind::AttestationFailed);
    let failure = failure(&error);
    assert!(
        matches!(failure, NativeFailure::StartFailed(_)),
        "{failure}"
    );
    assert_eq!(failure.code(), Some(NativeCode::new(-35)));
    let probe = provider.probe();
    let library = probe.library.unwrap();
    assert!(library.loaded && !library.started && probe.failure.is_some());
}

#[tokio::test]
async fn rejects_relative_and_network_paths() {
    for path in [
        "AttestationClientLib.dll",
        r"native\x.dll",
        r"\\127.0.0.1\share\x.dll",
    ] {
        let named = attest_error(&NativeAttestation::new().library(path)).await;
        let variable = attest_error(&NativeAttestation::new().library_from_environment(path)).await;
        for error in [named, variable] {
            assert_eq!(
                error.kind(),
                ErrorKind::AttestationLibraryUnusable,
                "{path}"
            );
            assert!(
                matches!(failure(&error), NativeFailure::PathRejected { .. }),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn searches_only_program_folders_and_system32() {
    // The one in the working folder is not found.
    let error = attest_error(&NativeAttestation::new()).await;
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
fn probe_reports_locations_and_progress() {
    let path = copy_of("fake_library.dll", "probed");
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
fn probe_does_not_load_rejected_library() {
    let path = copy_of("fake_library.dll", "probed-unsigned");
    let probe = NativeAttestation::new().library(&path).probe();
    let library = probe.library.unwrap();
    assert_eq!(library.sha256, sha256(&path));
    assert!(library.trust.is_none() && !library.loaded && !library.started);
    let failure = probe.failure.unwrap();
    assert_eq!(failure.kind(), ErrorKind::AttestationLibraryUnusable);
}
