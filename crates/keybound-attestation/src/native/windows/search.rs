//! Finds, verifies, loads and starts the library.
use super::held_file::{self, HeldFile};
use super::library::{Library, Module};
use super::private_copy::PrivateCopy;
use super::signature;
use crate::native::native_probe::{LibraryTrust, NativeProbe, ProbedLibrary, ProbedPlace};
use crate::native::{LibraryPlace, NativeFailure, Selection, location};
use keybound_core::lock;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Finds, copies, verifies, loads and starts the library, and records the progress in `probe`. A library that is already loaded
/// is verified again and reused.
pub(super) fn find(
    selection: &Selection,
    probe: &Mutex<NativeProbe>,
) -> Result<&'static Library, NativeFailure> {
    let held = open_first(selection, probe)?;
    let mut found = ProbedLibrary {
        path: held.path.clone(),
        sha256: held.sha256,
        trust: None,
        loaded: false,
        started: false,
    };
    // Recorded after each step: any of them may hang.
    let record = |found: &ProbedLibrary| lock(probe).library = Some(found.clone());
    record(&found);
    let copy = PrivateCopy::of(&held)?;
    found.trust = Some(trust(selection, &held, &copy)?);
    record(&found);
    let slot = slot(&held.path);
    let mut in_use = lock(&slot);
    let library = match *in_use {
        Some(in_use) if in_use.sha256 == held.sha256 => in_use.library,
        Some(_) => return Err(replaced(held.path)),
        None => {
            let module = Module::load(&copy.file.path, &held.path)?;
            found.loaded = true;
            record(&found);
            let library = module.start()?;
            tracing::debug!(path = ?held.path, trust = ?found.trust, "attestation library started");
            *in_use = Some(InUse {
                sha256: held.sha256,
                library,
            });
            library
        }
    };
    (found.loaded, found.started) = (true, true);
    record(&found);
    Ok(library)
}

/// The first location at which a file exists. It is not opened: whether it can be used is not known.
pub(super) fn locate(selection: &Selection) -> Result<PathBuf, NativeFailure> {
    let places = places(selection)?;
    let mut paths = places.iter().map(|(_, path)| path);
    match paths.find(|path| path.exists()) {
        Some(path) => Ok(path.clone()),
        None => Err(not_found(places)),
    }
}

/// Opens the first existing file.
fn open_first(
    selection: &Selection,
    probe: &Mutex<NativeProbe>,
) -> Result<HeldFile, NativeFailure> {
    let places = places(selection)?;
    let place = |(place, path): &(LibraryPlace, PathBuf)| ProbedPlace {
        place: *place,
        path: path.clone(),
        found: None,
    };
    lock(probe).places = places.iter().map(place).collect();
    for (at, (_, path)) in places.iter().enumerate() {
        // A file that cannot be opened exists.
        lock(probe).places[at].found = Some(true);
        if let Some(held) = HeldFile::open(path)? {
            return Ok(held);
        }
        lock(probe).places[at].found = Some(false);
    }
    Err(not_found(places))
}

fn places(selection: &Selection) -> Result<Vec<(LibraryPlace, PathBuf)>, NativeFailure> {
    location::places(
        selection.named.as_deref(),
        selection.environment.as_deref(),
        &held_file::folders(),
    )
}

fn not_found(places: Vec<(LibraryPlace, PathBuf)>) -> NativeFailure {
    let paths = places.into_iter().map(|(_, path)| path);
    NativeFailure::NotFound(paths.collect())
}

/// Verifies the copy, which is the file that is loaded.
fn trust(
    selection: &Selection,
    held: &HeldFile,
    copy: &PrivateCopy,
) -> Result<LibraryTrust, NativeFailure> {
    match selection.pinned {
        Some(pinned) if pinned == held.sha256 => Ok(LibraryTrust::Pinned),
        Some(_) => Err(NativeFailure::HashMismatch {
            path: held.path.clone(),
        }),
        None => match signature::signed_by_microsoft(&copy.file) {
            Ok(organisation) => Ok(LibraryTrust::SignedBy(organisation)),
            Err(reason) => Err(NativeFailure::SignatureRejected {
                path: held.path.clone(),
                reason,
            }),
        },
    }
}

/// Windows would return the file that is already loaded.
fn replaced(path: PathBuf) -> NativeFailure {
    NativeFailure::LoadFailed {
        path,
        reason: "another file was loaded from this path before; restart the program",
        cause: std::io::Error::from(std::io::ErrorKind::AlreadyExists).into(),
    }
}

/// The slot of a path. Its lock is held during the start, so that a library starts once; other paths do not wait.
fn slot(path: &Path) -> Slot {
    let mut slots = lock(&SLOTS);
    if let Some((_, slot)) = slots.iter().find(|(known, _)| known == path) {
        return Arc::clone(slot);
    }
    let slot = Slot::default();
    slots.push((path.to_owned(), Arc::clone(&slot)));
    slot
}

type Slot = Arc<Mutex<Option<InUse>>>;

#[derive(Clone, Copy)]
struct InUse {
    sha256: [u8; 32],
    library: &'static Library,
}

/// The libraries of the process: a second client must not start one again.
static SLOTS: Mutex<Vec<(PathBuf, Slot)>> = Mutex::new(Vec::new());
