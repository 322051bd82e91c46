//! From the places where the library may be to one that is loaded and started.
use super::copy::PrivateCopy;
use super::file::{self, HeldFile};
use super::library::{Library, Module};
use super::signature;
use crate::native::probe::{LibraryTrust, NativeProbe, ProbedLibrary, ProbedPlace};
use crate::native::{LibraryPlace, NativeFailure, Selection, location};
use keybound_core::lock;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Finds, copies, checks, loads and starts the library, and writes down how far it came. A library that is loaded already is
/// checked again, and then used as it is.
pub(super) fn find(
    selection: &Selection,
    probe: &Mutex<NativeProbe>,
) -> Result<&'static Library, NativeFailure> {
    let held = look(selection, probe)?;
    let mut found = ProbedLibrary {
        path: held.path.clone(),
        sha256: held.sha256,
        trust: None,
        loaded: false,
        started: false,
    };
    // Reported step by step: each of these may hang.
    let tell = |found: &ProbedLibrary| lock(probe).library = Some(found.clone());
    tell(&found);
    let copy = PrivateCopy::of(&held)?;
    found.trust = Some(trust(selection, &held, &copy)?);
    tell(&found);
    let place = place_of(&held.path);
    let mut in_use = lock(&place);
    let library = match *in_use {
        Some(one) if one.sha256 == held.sha256 => one.library,
        Some(_) => return Err(replaced(held.path)),
        None => {
            let module = Module::load(&copy.file.path, &held.path)?;
            found.loaded = true;
            tell(&found);
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
    tell(&found);
    Ok(library)
}

/// The first file that is there.
fn look(selection: &Selection, probe: &Mutex<NativeProbe>) -> Result<HeldFile, NativeFailure> {
    let places = location::places(
        selection.named.as_deref(),
        selection.environment.as_deref(),
        &file::folders(),
    )?;
    let place = |(place, path): &(LibraryPlace, PathBuf)| ProbedPlace {
        place: *place,
        path: path.clone(),
        found: None,
    };
    lock(probe).places = places.iter().map(place).collect();
    for (at, (_, path)) in places.iter().enumerate() {
        // What cannot be read is there.
        lock(probe).places[at].found = Some(true);
        if let Some(held) = HeldFile::open(path)? {
            return Ok(held);
        }
        lock(probe).places[at].found = Some(false);
    }
    let paths = places.into_iter().map(|(_, path)| path);
    Err(NativeFailure::NotFound(paths.collect()))
}

/// The signature is the copy's, which is what is loaded.
fn trust(
    selection: &Selection,
    held: &HeldFile,
    copy: &PrivateCopy,
) -> Result<LibraryTrust, NativeFailure> {
    match selection.pinned {
        Some(pinned) if pinned == held.sha256 => Ok(LibraryTrust::Pinned),
        Some(_) => Err(NativeFailure::NotAsPinned {
            path: held.path.clone(),
        }),
        None => match signature::signed_by_microsoft(&copy.file) {
            Ok(organisation) => Ok(LibraryTrust::SignedBy(organisation)),
            Err(reason) => Err(NativeFailure::SignatureRefused {
                path: held.path.clone(),
                reason,
            }),
        },
    }
}

/// Windows would hand out the file of then.
fn replaced(path: PathBuf) -> NativeFailure {
    NativeFailure::NotLoadable {
        path,
        reason: "another file was loaded from this path before; restart the program",
        cause: std::io::Error::from(std::io::ErrorKind::AlreadyExists).into(),
    }
}

/// What was started from a path. It is held while that starts, so that it is done once; other paths do not wait for it.
fn place_of(path: &Path) -> Place {
    let mut places = lock(&PLACES);
    if let Some((_, place)) = places.iter().find(|(known, _)| known == path) {
        return Arc::clone(place);
    }
    let place = Place::default();
    places.push((path.to_owned(), Arc::clone(&place)));
    place
}

type Place = Arc<Mutex<Option<InUse>>>;

#[derive(Clone, Copy)]
struct InUse {
    sha256: [u8; 32],
    library: &'static Library,
}

/// What a process has loaded belongs to the process: a second client must not start a library again.
static PLACES: Mutex<Vec<(PathBuf, Place)>> = Mutex::new(Vec::new());
