//! The command line. Parsing has no side effects; help, completions and man pages are generated from these types.
mod app;
mod attestation;
mod call;
mod capabilities;
mod doctor;
mod emulator;
mod host;
mod selftest;
mod token;
mod values;
mod verify;

#[cfg(test)]
mod documented;

pub(crate) use app::AppArgs;
pub(crate) use attestation::{AttestationArgs, AttestationCommand, LibraryArgs, ProbeArgs};
pub(crate) use call::{CallArgs, CallOutput};
pub(crate) use capabilities::CapabilitiesArgs;
pub(crate) use doctor::{ChosenAuthority, DoctorArgs};
pub(crate) use emulator::{AttestationChoice, EmulatorArgs};
pub(crate) use host::{HostArgs, TargetArgs};
pub(crate) use selftest::{SelftestArgs, SelftestOutput};
pub(crate) use token::{GetTokenArgs, TokenArgs, TokenOutput};
pub(crate) use values::{Data, Source, TlsChoice};
pub(crate) use verify::{
    CheckArgs, KeyFormat, KeysArgs, ProxyConfigArgs, ServeArgs, VerifyArgs, VerifyCommand,
};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Access tokens for Azure managed identities that cannot be used when stolen
///
/// The program creates a non-exportable key, IMDS issues a certificate for it, and Entra, over mutual TLS with that key,
/// issues a token that is bound to the certificate. A resource accepts the token only on a connection authenticated with
/// the same key.
#[derive(Debug, Parser)]
#[command(
    name = "keybound",
    // Also if the file has an extension, as on Windows.
    bin_name = "keybound",
    version,
    max_term_width = 100,
    after_long_help = AFTER_HELP,
    disable_help_subcommand = true,
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    GetToken(Box<GetTokenArgs>),
    Call(Box<CallArgs>),
    Emulator(Box<EmulatorArgs>),
    Verify(Box<VerifyArgs>),
    Attestation(AttestationArgs),
    Capabilities(Box<CapabilitiesArgs>),
    Doctor(Box<DoctorArgs>),
    Selftest(Box<SelftestArgs>),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

impl Command {
    /// Its name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::GetToken(_) => "get-token",
            Self::Call(_) => "call",
            Self::Emulator(_) => "emulator",
            Self::Verify(_) => "verify",
            Self::Attestation(_) => "attestation",
            Self::Capabilities(_) => "capabilities",
            Self::Doctor(_) => "doctor",
            Self::Selftest(_) => "selftest",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

/// Show the whole flow, offline, on any machine
///
/// Starts the embedded emulator and runs every step against it, in one process, on loopback only: key, certificate
/// signing request, attestation, credential, token, binding check, and the call of a vault that requests the
/// certificate by TLS renegotiation. Then a thief sends the same token without its key, and with a key of another
/// identity, and is refused. Exits with 0 only if the secret was read and both thefts were refused; with
/// 128 + N if signal N stopped it (Ctrl-C is signal 2).
///
/// The key and its attestation are simulated. Environment variables have no effect.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  keybound demo\n  keybound demo --json")]
pub(crate) struct DemoArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  keybound completions bash > ~/.local/share/bash-completion/completions/keybound"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Print the man page, or write those of all subcommands
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  keybound man | man -l -\n  keybound man --dir ~/.local/share/man/man1"
)]
pub(crate) struct ManArgs {
    /// Write keybound.1 and a page for each subcommand into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// The text after the options in the help of the program.
const AFTER_HELP: &str = "\
Examples:
  keybound demo                                     the whole flow, offline
  keybound get-token --resource https://vault.azure.net -v
  keybound call 'https://my-vault.vault.azure.net/secrets/db?api-version=7.4'
  keybound emulator --exec -- keybound call --simulated
  keybound verify serve --config verify.toml        verify tokens for APIs behind a proxy
  keybound capabilities                             what this host can do
  keybound doctor                                   why tokens work here, or do not
  keybound selftest                                 run the whole flow, step by step

Exit codes:
  0  success
  1  the flow failed; the error names its stage and code
  2  wrong usage; nothing was done
  `emulator --exec` exits with the status of its command

Environment:
  AZURE_POD_IDENTITY_AUTHORITY_HOST  address of IMDS, as --imds
  IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT, IMDS_ENDPOINT,
  MSI_ENDPOINT, MSI_SECRET, DEFAULT_IDENTITY_CLIENT_ID
                                     set by the host: its managed identity source; see --source
  AZURE_AUTHORITY_HOST               authority of an app registration, as --authority
  AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE
                                     set by AKS workload identity; see --workload-identity
  KEYBOUND_CA_FILE                   CA certificates (PEM) for loopback hosts only; see --ca-file
  HTTPS_PROXY, ALL_PROXY, NO_PROXY   proxies for Entra and resources, never for sources; without
                                     them, on Windows the system's proxy settings
  ATTESTATION_CLIENTLIB_PATH         the attestation library (Windows); see attestation probe --help
  MSAL_MSI_V2_KEY_NAME               the name of the KeyGuard key (Windows) instead of MSAL .NET's
  MSAL_MSI_V2_ATTESTATION_CACHE      0: attestation tokens are not cached
  MSAL_MI_DISABLE_IMDS_V2            true or 1: no request of managed identity v2 is sent
  MSAL_MI_IMDSV2_ALLOWED_HOSTS       the operator's allow-list for the endpoints from IMDS
  MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE
                                     true or 1: no certificate is stored (Windows)
  KEYBOUND_LOG                       what -v logs: LEVEL or TARGET=LEVEL,… (default keybound=info)

Standard output holds data only; everything else goes to standard error.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
