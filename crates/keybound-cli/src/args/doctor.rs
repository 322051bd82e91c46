use super::HostArgs;
use super::values::{self, Source};
use crate::failure::Failure;
use clap::{ArgAction, Args};
use keybound::confidential::Cloud;
use keybound_core::Authority;
use url::Url;

/// Show at a glance why tokens work on this host, or do not
///
/// Checks the source of tokens, IMDS, the virtual machine, the attestation library, stored certificates, AKS workload identity,
/// proxies, the token endpoint and the clock. Each check is ok, a warning or a problem, with the next step. No key is created, no token is
/// requested, and nothing on the host changes. The report is safe to paste into a ticket: it contains no tokens, no values of
/// environment variables, and abbreviated ids. `keybound selftest` runs the whole flow instead, with a key and a token.
///
/// Checks that do not depend on each other run at the same time, each for at most 10 seconds.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) host: HostArgs,

    /// Check for plain bearer tokens: certificates, attestation and the token endpoint of certificates do not matter then
    #[arg(
        long,
        conflicts_with_all = [
            "min_strength",
            "no_attestation",
            "attestation_library",
            "attestation_null_arguments",
            "simulated",
            "token_endpoint",
        ],
        help_heading = "Token"
    )]
    pub(crate) bearer: bool,

    /// Check for bearer tokens of the app registration that AKS workload identity configures: the managed identity and IMDS do not
    /// matter then, and the authority is connected to
    #[arg(
        long,
        requires = "bearer",
        conflicts_with_all = ["client_id", "object_id", "resource_id", "imds", "source"],
        help_heading = "Token"
    )]
    pub(crate) workload_identity: bool,

    /// The managed identity source [default: the one that the variables of the host show; imds with --imds]
    #[arg(long, value_name = "SOURCE", value_enum, help_heading = "Connections")]
    pub(crate) source: Option<Source>,

    /// The token endpoint to connect to [default: the one of a stored certificate, else the one of the cloud, such as
    /// https://mtlsauth.microsoft.com]
    #[arg(long, value_name = "URL", help_heading = "Connections")]
    token_endpoint: Option<String>,

    /// The cloud whose token endpoint is the default, or with --workload-identity the one whose authority is used: public,
    /// us-government, china, france, germany or singapore [default: that of AZURE_AUTHORITY_HOST, otherwise public]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["authority", "token_endpoint"], help_heading = "Connections")]
    cloud: Option<Cloud>,

    /// The authority in place of that of a cloud [env: AZURE_AUTHORITY_HOST]
    // clap does not read the variable: an unknown authority in it is no error.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "token_endpoint",
        help_heading = "Connections"
    )]
    authority: Option<String>,

    /// Print one JSON object instead of the text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Log each request that is retried, and its time, to standard error; -vv logs more
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

impl DoctorArgs {
    /// The token endpoint, if any. It is parsed here and not by clap, which repeats rejected values.
    pub(crate) fn token_endpoint(&self) -> Result<Option<Url>, Failure> {
        let url = self.token_endpoint.as_deref().map(values::resource_url);
        let url = url.transpose();
        url.map_err(|rule| Failure::Usage(format!("--token-endpoint: {rule}")))
    }

    /// The authority of the options, otherwise that of `AZURE_AUTHORITY_HOST`, whose value `environment` is, otherwise that of the
    /// public cloud.
    ///
    /// # Errors
    /// [`Failure::Usage`] if an option is malformed, or its host for mutual TLS is needed and unknown.
    pub(crate) fn authority(&self, environment: Option<&str>) -> Result<ChosenAuthority, Failure> {
        let named = match (self.cloud, &self.authority) {
            (Some(cloud), _) => Some(Authority::of_cloud(cloud)),
            (None, Some(url)) => Some(Authority::parse(url).map_err(Failure::before_work)?),
            (None, None) => None,
        };
        if let Some(Err(_)) = named
            .as_ref()
            .map(Authority::mtls_origin)
            .filter(|_| !self.bearer)
        {
            return Err(Failure::Usage(
                "--authority: its token endpoint for mutual TLS is unknown: name that with --token-endpoint".to_owned(),
            ));
        }
        let is_named = named.is_some();
        let of_environment = || match environment.filter(|url| !url.is_empty()) {
            Some(url) => Authority::parse(url),
            None => Ok(Authority::of_cloud(Cloud::Public)),
        };
        let authority = named.map_or_else(of_environment, Ok);
        Ok(ChosenAuthority {
            authority,
            is_named,
        })
    }

    /// Rejects options that have no effect beside others, as far as their parser cannot.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub(crate) fn check_effects(&self) -> Result<(), Failure> {
        let of_authority = [
            ("--cloud", self.cloud.is_some()),
            ("--authority", self.authority.is_some()),
            ("--allowed-host", !self.host.allowed_hosts.is_empty()),
        ];
        let set = of_authority.iter().find(|(_, is_set)| *is_set);
        if let Some((option, _)) = set.filter(|_| self.bearer && !self.workload_identity) {
            return Err(Failure::Usage(format!(
                "{option} has no effect with --bearer without --workload-identity: the source is on this host"
            )));
        }
        let endpoint = ("--token-endpoint", self.token_endpoint.is_some());
        let set = set.or(Some(&endpoint).filter(|(_, is_set)| *is_set));
        let is_other_source = self.source.is_some_and(|source| source != Source::Imds);
        if let Some((option, _)) = set.filter(|_| is_other_source) {
            return Err(Failure::Usage(format!(
                "{option} has no effect with this --source: only IMDS has certificates for a token endpoint"
            )));
        }
        Ok(())
    }
}

/// The authority, and what chose it.
#[derive(Clone, Debug)]
pub(crate) struct ChosenAuthority {
    /// An error if `AZURE_AUTHORITY_HOST` is malformed.
    pub(crate) authority: keybound::Result<Authority>,
    /// Whether an option names it.
    pub(crate) is_named: bool,
}

impl ChosenAuthority {
    /// The authority, unless the environment names an unknown one: its host is not used where no option requires it, since reports
    /// contain no values of variables.
    pub(crate) fn known(&self) -> Option<&Authority> {
        let authority = self.authority.as_ref().ok()?;
        let host = authority.origin().host_str()?;
        let is_known = authority.origin().port().is_none() && Cloud::of_authority(host).is_some();
        (self.is_named || is_known).then_some(authority)
    }
}

const AFTER_HELP: &str = "\
Examples:
  keybound doctor
  keybound doctor --bearer
  keybound doctor --workload-identity --bearer      on AKS
  keybound doctor --json | jq '.checks[] | select(.result == \"problem\")'
  keybound emulator --exec -- keybound doctor --simulated

JSON:
  ok, time, program {version, openssl, os, architecture},
  request {token, min_strength, attestation, simulated, workload_identity}: token is mtls_pop or
  bearer,
  checks [{check, result, detail, next_step, elapsed_ms, error}]: result is ok, warning, problem or
  skipped; next_step is null without a warning or problem; error is null, or {code, stage, message,
  status, service, retryable, deadline_exceeded, next_step}
  Checks: source, environment, imds, machine, binding, attestation, certificates, federated, proxy,
  dns, tls, clock

Exit codes: 0 no problem, perhaps warnings, 1 a problem, 2 wrong usage, 128 + N signal N stopped it.";
