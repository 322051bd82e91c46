use super::LibraryArgs;
use super::values::{self, Source};
use clap::{ArgAction, Args};
use std::time::Duration;

/// Show which tokens this host can have, and why not stronger ones
///
/// Shows the source of tokens and why it is the source, the versions of IMDS, what the virtual machine is, the strongest binding,
/// and whether the attestation library exists. No key is created and no token is requested. A capability that is missing is part of the answer, with the reason and the next step, and not an error.
///
/// A token can be bound to a key only on a host with IMDS v2. The strongest key is KeyGuard: it needs Windows on a virtual
/// machine with Trusted Launch or confidential computing, with Secure Boot and virtual TPM on. IMDS may reject certificates
/// for weaker keys, or for keys that are not attested. `keybound selftest` runs the whole flow.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct CapabilitiesArgs {
    #[command(flatten)]
    pub(crate) library: LibraryArgs,

    /// Address of IMDS, which is then the default source [default: http://169.254.169.254] [env:
    /// AZURE_POD_IDENTITY_AUTHORITY_HOST]
    // clap does not read the variable: it does not choose the source.
    #[arg(long, value_name = "URL", help_heading = "Connections")]
    pub(crate) imds: Option<String>,

    /// The managed identity source [default: the one that the variables of the host show; imds with --imds]
    #[arg(long, value_name = "SOURCE", value_enum, help_heading = "Connections")]
    pub(crate) source: Option<Source>,

    /// How long IMDS is waited for, in seconds; without an answer by then, it counts as not responding
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = values::timeout,
        default_value = "60",
        help_heading = "Connections"
    )]
    pub(crate) timeout: Duration,

    /// Print one JSON object instead of the text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Log each request that is retried, and its time, to standard error; -vv logs more
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

const AFTER_HELP: &str = "\
Examples:
  keybound capabilities
  keybound capabilities --json | jq -r .strongest_binding
  keybound emulator --exec -- keybound capabilities

JSON:
  source, source_reason {reason, variables}, source_error,
  imds {v1, v2, error} (null for another source; a version is null if it is not known),
  imds_v2_disabled, operating_system (windows, linux or other),
  security {type, secure_boot, virtual_tpm} (null if IMDS did not state it), security_error,
  strongest_key, strongest_binding (keyguard, hardware, software or null), why_not_stronger,
  attestation {support, library, error}: support is none, library or no_library
  Errors are null, or {code, stage, message, status, service, retryable, deadline_exceeded,
  next_step}

Exit codes: 0 the host was examined, whatever it can do, 1 the program failed, 2 wrong usage.";
