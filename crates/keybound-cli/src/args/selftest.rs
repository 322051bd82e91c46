use super::values;
use super::{HostArgs, TargetArgs};
use crate::failure::Failure;
use clap::{ArgAction, Args, ValueEnum};
use url::Url;

/// Tell step by step what works on this host, to be sent on
///
/// Asks IMDS whether it speaks v2, tells which key this host has and why no better one, and goes through the whole flow:
/// metadata, key, certificate request, attestation, certificate, token, its type, its binding, the cache, and with --call
/// the call of a resource. A step that cannot be taken because an earlier one failed is skipped, the others are not. No
/// token, key or attestation is ever part of the report; ids of the host and its identity are abbreviated, the trace ids
/// of the services are not.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct SelftestArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    /// Have a certificate issued although an earlier run kept one, and keep none, so that every step is taken
    ///
    /// On Windows a certificate is kept in CurrentUser\My for later runs. Where that serves, metadata, csr, attestation and
    /// credential are skipped. The key is the host's either way: opened where there is one, else made.
    #[arg(long, help_heading = "Key")]
    pub(crate) fresh: bool,

    /// Call this resource too, with a GET; of the answer, only the status and the length are told
    #[arg(long, value_name = "URL", help_heading = "Token")]
    call: Option<String>,

    /// What is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = SelftestOutput::Text, help_heading = "Output")]
    pub(crate) output: SelftestOutput,

    /// Print ids whole: of the identity, its tenant and the host
    #[arg(long, help_heading = "Output")]
    pub(crate) show_ids: bool,

    /// Tell each step and its time on standard error while it goes on, ids and all; -vv tells more
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

impl SelftestArgs {
    /// What to call, where it was said. Read here rather than while parsing, which repeats what it refuses.
    pub(crate) fn call(&self) -> Result<Option<Url>, Failure> {
        let url = self.call.as_deref().map(values::resource_url).transpose();
        url.map_err(|rule| Failure::Usage(format!("--call: {rule}")))
    }
}

/// How `selftest` prints its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SelftestOutput {
    /// For people: a line for each step
    Text,
    /// One object
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  keybound selftest --resource https://vault.azure.net
  keybound selftest --call 'https://my-vault.vault.azure.net/secrets/db?api-version=7.4'
  keybound selftest --fresh                         every step, also where a certificate is kept
  keybound selftest --min-strength software --no-attestation --output json
  keybound emulator --exec -- keybound selftest --simulated

JSON:
  ok, simulated, time, program {version, openssl, os, architecture},
  asked {identity, resource, min_strength, attestation, fresh, call},
  steps [{step, result, detail, elapsed_ms, error}]: result is ok, failed or skipped; elapsed_ms is
  null where nothing was timed; error is null, or {code, stage, message, status, service, retryable,
  deadline_reached, next_step}
  Steps: probe, key_providers, attestation_library, metadata, key, csr, attestation, credential,
  token, token_type, binding, cache, resource

Exit codes: 0 no step failed, 1 one did, 2 wrong usage.";
