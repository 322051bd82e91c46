use super::values;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Inspect the attestation of keys
#[derive(Debug, Args)]
pub(crate) struct AttestationArgs {
    #[command(subcommand)]
    pub(crate) command: AttestationCommand,
}

/// The subcommand of `attestation`.
#[derive(Debug, Subcommand)]
pub(crate) enum AttestationCommand {
    Probe(ProbeArgs),
}

/// Check whether the native attestation library is found, trusted, loads and starts
///
/// KeyGuard keys are attested by AttestationClientLib.dll, a library of Microsoft that is not part of this
/// program. The search order is: --attestation-library, ATTESTATION_CLIENTLIB_PATH, the program's directory, the directory `native`
/// in it, System32; never the working directory or PATH. The library is loaded only if it is signed by Microsoft or has the
/// given SHA-256. No key is created and nothing is sent.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct ProbeArgs {
    #[command(flatten)]
    pub(crate) library: LibraryArgs,

    /// Print one JSON object instead of the text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which attestation library is used.
#[derive(Debug, Args)]
pub(crate) struct LibraryArgs {
    /// The native attestation library (Windows): the absolute path of AttestationClientLib.dll
    /// [default: ATTESTATION_CLIENTLIB_PATH, else beside the program or in System32]
    #[arg(long, value_name = "DLL", help_heading = "Key")]
    pub(crate) attestation_library: Option<PathBuf>,

    /// Use that library if this is its SHA-256 (64 hex digits), without a check of its signature [default: signed by Microsoft]
    #[arg(
        long,
        value_name = "HEX",
        value_parser = values::sha256,
        requires = "attestation_library",
        help_heading = "Key"
    )]
    pub(crate) attestation_library_sha256: Option<Sha256>,

    /// Pass NULL to that library for the authentication token and the client payload, as MSAL .NET and MSAL Go do
    /// [default: an empty string and {}]
    #[arg(long, help_heading = "Key")]
    pub(crate) attestation_null_arguments: bool,
}

impl LibraryArgs {
    /// Whether an option differs from its default.
    pub(crate) fn is_set(&self) -> bool {
        self.attestation_library.is_some() || self.attestation_null_arguments
    }
}

/// A hash, as 64 hex digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sha256(pub(crate) [u8; 32]);

const AFTER_HELP: &str = "\
Examples:
  keybound attestation probe
  keybound attestation probe --attestation-library C:\\keybound\\AttestationClientLib.dll --json

JSON:
  ready, places [{place, path, found}], library {path, sha256, trust, signer, loaded, started} (null
  if none was found), error {code, stage, message, …} (null if ready)

Exit codes: 0 the library can be used, 1 it cannot, 2 wrong usage.";
