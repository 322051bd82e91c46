use super::values;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Look into the attestation of keys
#[derive(Debug, Args)]
pub(crate) struct AttestationArgs {
    #[command(subcommand)]
    pub(crate) command: AttestationCommand,
}

/// What is to be done about attestation.
#[derive(Debug, Subcommand)]
pub(crate) enum AttestationCommand {
    Probe(ProbeArgs),
}

/// Tell whether the native attestation library is found, may be used, loads and starts
///
/// KeyGuard keys are attested by AttestationClientLib.dll, which is Microsoft's and not part of this program. It is
/// looked for at the path that is named, else at the one in ATTESTATION_CLIENTLIB_PATH, else in the program's folder, in
/// the folder `native` there, and in System32; never in the working folder or on PATH. It is loaded only where Microsoft
/// signed it or its SHA-256 is the one given. No key is made and nothing is sent.
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

    /// Use that library where this is its SHA-256 (64 hex digits), whoever signed it [default: Microsoft must have]
    #[arg(
        long,
        value_name = "HEX",
        value_parser = values::sha256,
        requires = "attestation_library",
        help_heading = "Key"
    )]
    pub(crate) attestation_library_sha256: Option<Sha256>,

    /// Pass NULL to that library for the authentication token and the client payload, as MSAL .NET and MSAL Go do
    /// [default: an empty text and {}]
    #[arg(long, help_heading = "Key")]
    pub(crate) attestation_null_arguments: bool,
}

impl LibraryArgs {
    /// Whether the library of this host is used in another way than by default.
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
  where none was found), error {code, stage, message, …} (null where it is ready)

Exit codes: 0 the library can be used, 1 it cannot, 2 wrong usage.";
