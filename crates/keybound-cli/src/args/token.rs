use super::attestation::LibraryArgs;
use super::values::{self, TlsChoice};
use clap::{ArgAction, Args, ValueEnum};
use keybound::{Claims, KeyStrength, ManagedIdentity, Scope};
use std::path::PathBuf;
use std::time::Duration;

/// Get a token for a managed identity of this host
///
/// By default the token is bound to a certificate (mtls_pop) whose key is attested and protected by KeyGuard. There is
/// no fallback: what was asked for is had, or the error says at which stage it failed and what to do next.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct GetTokenArgs {
    #[command(flatten)]
    pub(crate) token: TokenArgs,

    /// What is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = TokenOutput::Text, help_heading = "Output")]
    pub(crate) output: TokenOutput,
}

/// How `get-token` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenOutput {
    /// For people; the token abbreviated
    Text,
    /// One object, also for errors; the token abbreviated unless --show-full-token
    Json,
    /// The bare token and a line end, nothing else
    Token,
}

/// Which token, for whom, by which way: common to `get-token` and `call`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// What the token is for, such as https://vault.azure.net
    #[arg(long, value_name = "URI", value_parser = values::scope, conflicts_with = "scope", help_heading = "Token")]
    pub(crate) resource: Option<Scope>,

    /// The same as a scope [default: https://graph.microsoft.com/.default; call of a vault: the vault's]
    #[arg(long, value_name = "SCOPE", value_parser = values::scope, help_heading = "Token")]
    pub(crate) scope: Option<Scope>,

    /// Ask for a bearer token: good for whoever holds it. For resources that take no bound tokens
    #[arg(long, help_heading = "Token")]
    pub(crate) bearer: bool,

    /// The decoded JSON of a resource's claims challenge; a fresh certificate is minted first
    #[arg(long, value_name = "JSON", value_parser = values::claims, help_heading = "Token")]
    pub(crate) claims: Option<Claims>,

    /// Ask for a new token although one is cached
    #[arg(long, help_heading = "Token")]
    pub(crate) force_refresh: bool,

    /// The user-assigned identity with this client id (a GUID)
    #[arg(
        long,
        value_name = "ID",
        value_parser = values::client_id,
        conflicts_with_all = ["object_id", "resource_id"],
        help_heading = "Identity (default: the system-assigned one)"
    )]
    pub(crate) client_id: Option<ManagedIdentity>,

    /// The user-assigned identity with this object id (a GUID)
    #[arg(
        long,
        value_name = "ID",
        value_parser = values::object_id,
        conflicts_with = "resource_id",
        help_heading = "Identity (default: the system-assigned one)"
    )]
    pub(crate) object_id: Option<ManagedIdentity>,

    /// The user-assigned identity with this resource id (/subscriptions/…)
    #[arg(
        long,
        value_name = "ID",
        value_parser = values::resource_id,
        help_heading = "Identity (default: the system-assigned one)"
    )]
    pub(crate) resource_id: Option<ManagedIdentity>,

    /// Do not have the key attested, where IMDS allows that
    #[arg(long, help_heading = "Key")]
    pub(crate) no_attestation: bool,

    #[command(flatten)]
    pub(crate) library: LibraryArgs,

    /// The floor below which no key is used; the host's best key is always taken
    #[arg(long, value_name = "STRENGTH", value_enum, default_value_t = MinStrength::Keyguard, help_heading = "Key")]
    pub(crate) min_strength: MinStrength,

    /// Use the emulator's simulated key and attestation: with an IMDS on loopback and a named CA only
    #[arg(long, help_heading = "Key")]
    pub(crate) simulated: bool,

    /// Address of IMDS [default: http://169.254.169.254]
    #[arg(
        long,
        value_name = "URL",
        env = "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        hide_env_values = true,
        help_heading = "Connections"
    )]
    pub(crate) imds: Option<String>,

    /// Trust the CA certificates of this file too, for all hosts. Without it, those of KEYBOUND_CA_FILE are trusted for
    /// loopback hosts, with a warning
    #[arg(long, value_name = "PEM", help_heading = "Connections")]
    pub(crate) ca_file: Option<PathBuf>,

    /// TLS versions for a host: HOST=1.2, HOST=1.3 or HOST=1.2-1.3; may be repeated
    #[arg(long = "tls", value_name = "HOST=VERSIONS", value_parser = values::tls_choice, help_heading = "Connections")]
    pub(crate) tls: Vec<TlsChoice>,

    /// A host that the endpoints which IMDS names may have (a name, or *.domain); may be repeated; default: any public
    /// one
    #[arg(
        long = "allowed-host",
        value_name = "HOST",
        help_heading = "Connections"
    )]
    pub(crate) allowed_hosts: Vec<String>,

    /// How long all of it may take, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = values::timeout,
        default_value = "60",
        help_heading = "Connections"
    )]
    pub(crate) timeout: Duration,

    /// Tell each step, its time and the decoded claims on standard error; -vv tells more
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// Print the token whole in text and JSON, and where an answer echoes it. Whoever sees a bearer token can use it
    #[arg(long, help_heading = "Output")]
    pub(crate) show_full_token: bool,
}

impl TokenArgs {
    /// The identity asked for.
    pub(crate) fn identity(&self) -> ManagedIdentity {
        let named = [&self.client_id, &self.object_id, &self.resource_id];
        match named.into_iter().flatten().next() {
            Some(identity) => identity.clone(),
            None => ManagedIdentity::system_assigned(),
        }
    }

    /// What the token is for, where it was said.
    pub(crate) fn target(&self) -> Option<&str> {
        let target = self.resource.as_ref().or(self.scope.as_ref());
        target.map(Scope::as_str)
    }

    /// The address of IMDS, where one was set.
    pub(crate) fn imds(&self) -> Option<&str> {
        self.imds.as_deref().filter(|url| !url.is_empty())
    }
}

/// The floor of the key's strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MinStrength {
    /// Any key, also in memory
    Software,
    /// A key in a TPM, or better
    Hardware,
    /// A key isolated by virtualization-based security
    Keyguard,
}

impl From<MinStrength> for KeyStrength {
    fn from(floor: MinStrength) -> Self {
        match floor {
            MinStrength::Software => Self::Software,
            MinStrength::Hardware => Self::Hardware,
            MinStrength::Keyguard => Self::KeyGuard,
        }
    }
}

const AFTER_HELP: &str = "\
Examples:
  keybound get-token                                for Microsoft Graph, KeyGuard key, attested
  keybound get-token --resource https://vault.azure.net --output json
  keybound get-token --client-id 11111111-2222-3333-4444-555555555555 -v
  keybound get-token --min-strength software --no-attestation
  keybound get-token --resource https://management.azure.com --bearer --output token
  keybound emulator --exec -- keybound get-token --simulated

JSON:
  access_token, token_type, expires_in, expires_on (seconds), resource, source, from_cache,
  binding {x5t#S256, thumbprint_sha1, thumbprint_sha256, subject, issuer, not_before, not_after,
  key_strength, attested, attestation, certificate_pem} (null for a bearer token),
  timings_ms {step: milliseconds, total}
  On failure: error {code, stage, message, status, service, retryable, deadline_reached, next_step}

Exit codes: 0 the token was had, 1 the flow failed, 2 wrong usage.";
