use keybound_core::Error;
use std::path::PathBuf;

/// What was found on this host: see [`NativeAttestation::probe`](super::NativeAttestation::probe).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NativeProbe {
    /// Where the library was looked for, in this order; the first one that is there was taken.
    pub places: Vec<ProbedPlace>,
    /// The file that was taken.
    pub library: Option<ProbedLibrary>,
    /// Why it cannot be used; `None` where it can.
    pub failure: Option<Error>,
}

/// A place where the library may be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbedPlace {
    /// Why it is looked for there.
    pub place: LibraryPlace,
    /// The file.
    pub path: PathBuf,
    /// Whether it is there; `None` where it was not looked for, since an earlier one is there.
    pub found: Option<bool>,
}

/// The file that was taken, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbedLibrary {
    /// Its path, with links resolved.
    pub path: PathBuf,
    /// Its SHA-256: what would be pinned.
    pub sha256: [u8; 32],
    /// What lets it be used: set before it is loaded.
    pub trust: Option<LibraryTrust>,
    /// Whether Windows loaded it, with all functions that are needed.
    pub loaded: bool,
    /// Whether it started (`InitAttestationLib`).
    pub started: bool,
}

/// What lets a library be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LibraryTrust {
    /// Its Authenticode signature holds, and is of this organisation.
    SignedBy(String),
    /// Its SHA-256 is the one that was pinned. Its signature was not looked at.
    Pinned,
}

/// Why a file is looked for at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LibraryPlace {
    /// The program or its user named the file.
    Named,
    /// `ATTESTATION_CLIENTLIB_PATH` names the file.
    Environment,
    /// The folder of the program.
    ProgramFolder,
    /// The folder `native` in the folder of the program.
    NativeFolder,
    /// Windows' own folder, System32.
    SystemFolder,
}

impl LibraryPlace {
    /// The word used in results: `named`, `environment`, `program_folder`, `native_folder`, `system_folder`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Environment => "environment",
            Self::ProgramFolder => "program_folder",
            Self::NativeFolder => "native_folder",
            Self::SystemFolder => "system_folder",
        }
    }
}
