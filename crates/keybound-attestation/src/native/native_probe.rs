use keybound_core::Error;
use std::path::PathBuf;

/// The result of [`NativeAttestation::probe`](super::NativeAttestation::probe).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NativeProbe {
    /// The locations that were tried, in this order; the first existing file is used.
    pub places: Vec<ProbedPlace>,
    /// The file that is used.
    pub library: Option<ProbedLibrary>,
    /// Why it cannot be used; `None` if it can.
    pub failure: Option<Error>,
}

/// A location of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbedPlace {
    /// The kind of location.
    pub place: LibraryPlace,
    /// The file.
    pub path: PathBuf,
    /// Whether it exists; `None` if it was not tried, since an earlier one exists.
    pub found: Option<bool>,
}

/// The file that is used, and the steps that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbedLibrary {
    /// Its path, with links resolved.
    pub path: PathBuf,
    /// Its SHA-256, for pinning.
    pub sha256: [u8; 32],
    /// Why it is trusted; set before it is loaded.
    pub trust: Option<LibraryTrust>,
    /// Whether Windows loaded it and it has all required functions.
    pub loaded: bool,
    /// Whether it started (`InitAttestationLib`).
    pub started: bool,
}

/// Why a library is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LibraryTrust {
    /// Its Authenticode signature is valid, by this organisation.
    SignedBy(String),
    /// Its SHA-256 is the pinned one. Its signature was not verified.
    Pinned,
}

/// The kind of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LibraryPlace {
    /// The configured path.
    Named,
    /// The path in `ATTESTATION_CLIENTLIB_PATH`.
    Environment,
    /// The directory of the program.
    ProgramFolder,
    /// The directory `native` in the directory of the program.
    NativeFolder,
    /// System32.
    SystemFolder,
}

impl LibraryPlace {
    /// The name in results: `named`, `environment`, `program_folder`, `native_folder`, `system_folder`.
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
