use super::values;
use super::{HostArgs, TargetArgs};
use crate::failure::Failure;
use clap::{ArgAction, Args, ValueEnum};
use url::Url;

/// Run diagnostics and print a report to attach to an issue
///
/// Checks whether IMDS supports v2, probes the keys of this host, and runs the whole flow: metadata, key, certificate
/// request, attestation, certificate, token, its type, its binding, the cache, and with --call the call of a resource. A step
/// that depends on a failed one is skipped. The report never holds a token, key or attestation token; ids of the host and its
/// identity are abbreviated, trace ids of the services are not.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct SelftestArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    /// Request a new certificate even if one is stored, and do not store it, so that every step runs
    ///
    /// On Windows certificates are stored in CurrentUser\My for later runs. If a stored one is used, metadata, csr,
    /// attestation and credential are skipped. The key of the host is opened either way, or created if it does not exist.
    #[arg(long, help_heading = "Key")]
    pub(crate) fresh: bool,

    /// Call this resource too, with a GET; the report holds the status and the length of the response only
    #[arg(long, value_name = "URL", help_heading = "Token")]
    call: Option<String>,

    /// The output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = SelftestOutput::Text, help_heading = "Output")]
    pub(crate) output: SelftestOutput,

    /// Print full ids of the identity, its tenant and the host
    #[arg(long, help_heading = "Output")]
    pub(crate) show_ids: bool,

    /// Log each step and its time to standard error, with full ids; -vv logs more
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

impl SelftestArgs {
    /// The URL to call, if any. It is parsed here and not by clap, which repeats rejected values.
    pub(crate) fn call(&self) -> Result<Option<Url>, Failure> {
        let url = self.call.as_deref().map(values::resource_url).transpose();
        url.map_err(|rule| Failure::Usage(format!("--call: {rule}")))
    }
}

/// How `selftest` prints its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SelftestOutput {
    /// A line for each step
    Text,
    /// One JSON object
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  keybound selftest --resource https://vault.azure.net
  keybound selftest --call 'https://my-vault.vault.azure.net/secrets/db?api-version=7.4'
  keybound selftest --fresh                         every step, even if a certificate is stored
  keybound selftest --min-strength software --no-attestation --output json
  keybound emulator --exec -- keybound selftest --simulated

JSON:
  ok, simulated, time, program {version, openssl, os, architecture},
  asked {identity, resource, min_strength, attestation, fresh, call},
  steps [{step, result, detail, elapsed_ms, error}]: result is ok, failed or skipped; elapsed_ms is
  null if nothing was timed; error is null, or {code, stage, message, status, service, retryable,
  deadline_exceeded, next_step}
  Steps: probe, key_providers, attestation_library, metadata, key, csr, attestation, credential,
  token, token_type, binding, cache, resource

Exit codes: 0 no step failed, 1 one did, 2 wrong usage.";
