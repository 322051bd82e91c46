use super::values::Source;
use super::{AppArgs, HostArgs, TargetArgs};
use clap::{ArgAction, Args, ValueEnum};
use keybound::Claims;

/// Get a token for a managed identity of this host
///
/// By default the token is bound to a certificate (mtls_pop) whose key is attested and protected by KeyGuard. There is
/// no fallback: the command returns the requested token, or an error with the stage at which it failed and the next step.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct GetTokenArgs {
    #[command(flatten)]
    pub(crate) token: TokenArgs,

    /// The output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = TokenOutput::Text, help_heading = "Output")]
    pub(crate) output: TokenOutput,
}

/// How `get-token` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenOutput {
    /// A line for each property; the token abbreviated
    Text,
    /// One JSON object, also for errors; the token abbreviated unless --show-full-token
    Json,
    /// The token and a line end only
    Token,
}

/// The options that `get-token` and `call` share.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// Request a plain bearer token from the managed identity source of this host; anyone who holds it can use it. For
    /// resources that do not accept bound tokens, and for hosts without IMDS v2; of an app registration, in exchange for such a token
    #[arg(
        long,
        conflicts_with_all = [
            "bearer_over_mtls",
            "min_strength",
            "no_attestation",
            "attestation_library",
            "attestation_null_arguments",
            "simulated",
        ],
        help_heading = "Token"
    )]
    pub(crate) bearer: bool,

    /// Request a bearer token over mutual TLS with the certificate (IMDS v2); anyone who holds it can use it
    #[arg(long, help_heading = "Token")]
    pub(crate) bearer_over_mtls: bool,

    /// The decoded JSON of a resource's claims challenge; a new certificate is minted first
    #[arg(long, value_name = "JSON", value_parser = Claims::parse, help_heading = "Token")]
    pub(crate) claims: Option<Claims>,

    /// Request a new token even if one is cached
    #[arg(long, help_heading = "Token")]
    pub(crate) force_refresh: bool,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    #[command(flatten)]
    pub(crate) app: AppArgs,

    /// The managed identity source [default: the one that the variables of the host show; imds with --imds]. Only IMDS issues bound tokens
    #[arg(
        long,
        value_name = "SOURCE",
        value_enum,
        conflicts_with = "simulated",
        help_heading = "Connections"
    )]
    pub(crate) source: Option<Source>,

    /// Log each step, its time and the decoded claims to standard error; -vv logs more
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// Print the full token in text and JSON, and in a response that echoes it. Anyone who sees a bearer token can use it
    #[arg(long, help_heading = "Output")]
    pub(crate) show_full_token: bool,
}

const AFTER_HELP: &str = "\
Examples:
  keybound get-token                                for Microsoft Graph, KeyGuard key, attested
  keybound get-token --resource https://vault.azure.net --output json
  keybound get-token --client-id 11111111-2222-3333-4444-555555555555 -v
  keybound get-token --min-strength software --no-attestation
  keybound get-token --resource https://management.azure.com --bearer --output token
  keybound get-token --bearer --source app-service --output json
  keybound get-token --app-id 33333333-3333-3333-3333-333333333333 \
    --tenant 22222222-2222-2222-2222-222222222222 --resource https://vault.azure.net
  keybound get-token --workload-identity --bearer   on AKS, for Microsoft Graph
  keybound emulator --exec -- keybound get-token --simulated

JSON:
  access_token, token_type, expires_in, expires_on (seconds), resource, source, from_cache,
  managed_identity_source (imds, app_service, service_fabric, azure_arc, machine_learning or
  cloud_shell; null for an app registration),
  binding {x5t#S256, thumbprint_sha1, thumbprint_sha256, subject, issuer, not_before, not_after,
  token_not_after, key_strength, attested, attestation, certificate_pem} (null for a bearer token),
  timings_ms {step: milliseconds, total}
  On failure: error {code, stage, message, status, service, retryable, deadline_exceeded, next_step}

Exit codes: 0 success, 1 the flow failed, 2 wrong usage.";
