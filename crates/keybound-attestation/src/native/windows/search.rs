//! From the places where the library may be to one that is loaded and started.
use super::file::{self, HeldFile};
use super::library::{Library, Module};
use super::signature;
use crate::native::probe::{LibraryTrust, NativeProbe, ProbedLibrary, ProbedPlace};
use crate::native::{LibraryPlace, NativeFailure, Selection, location};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Finds, checks, loads and starts the library, and writes down how far it came. A library that is loaded already is
/// checked again, and then used as it is.
pub(super) fn find(
    selection: &Selection,
    probe: &mut NativeProbe,
) -> Result<&'static Library, NativeFailure> {
    let held = look(selection, probe)?;
    let found = probe.library.insert(ProbedLibrary {
        path: held.path.clone(),
        sha256: held.sha256,
        trust: None,
        loaded: false,
        started: false,
    });
    let trust = trust(selection, &held)?;
    found.trust = Some(trust);
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let library = match in_use.iter().find(|one| one.path == held.path) {
        Some(one) if one.sha256 == held.sha256 => one.library,
        Some(_) => return Err(replaced(held.path)),
        None => {
            let module = Module::load(&held.path)?;
            found.loaded = true;
            let library = module.start()?;
            tracing::debug!(path = ?held.path, trust = ?found.trust, "attestation library started");
            in_use.push(InUse {
                path: held.path,
                sha256: held.sha256,
                library,
            });
            library
        }
    };
    (found.loaded, found.started) = (true, true);
    Ok(library)
}

/// The first file that is there.
fn look(selection: &Selection, probe: &mut NativeProbe) -> Result<HeldFile, NativeFailure> {
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
    probe.places = places.iter().map(place).collect();
    for place in &mut probe.places {
        // What cannot be read is there.
        place.found = Some(true);
        if let Some(held) = HeldFile::open(&place.path)? {
            return Ok(held);
        }
        place.found = Some(false);
    }
    let paths = places.into_iter().map(|(_, path)| path);
    Err(NativeFailure::NotFound(paths.collect()))
}

fn trust(selection: &Selection, held: &HeldFile) -> Result<LibraryTrust, NativeFailure> {
    match selection.pinned {
        Some(pinned) if pinned == held.sha256 => Ok(LibraryTrust::Pinned),
        Some(_) => Err(NativeFailure::NotAsPinned {
            path: held.path.clone(),
        }),
        None => match signature::signed_by_microsoft(held) {
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
        reason: "another file was loaded from this path before; start the program anew",
        cause: std::io::Error::from(std::io::ErrorKind::AlreadyExists).into(),
    }
}

struct InUse {
    path: PathBuf,
    sha256: [u8; 32],
    library: &'static Library,
}

/// What a process has loaded belongs to the process: a second client must not start a library again.
static IN_USE: Mutex<Vec<InUse>> = Mutex::new(Vec::new());
