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

    /// Check for plain bearer tokens: certificates, attestation and the token endpoint do not matter then
    #[arg(long, help_heading = "Token")]
    pub(crate) bearer: bool,

    /// The managed identity source [default: the one that the variables of the host show; imds with --imds]
    #[arg(long, value_name = "SOURCE", value_enum, help_heading = "Connections")]
    pub(crate) source: Option<Source>,

    /// The token endpoint to connect to [default: the one of a stored certificate, else the one of the cloud, such as
    /// https://mtlsauth.microsoft.com]
    #[arg(long, value_name = "URL", help_heading = "Connections")]
    token_endpoint: Option<String>,

    /// The cloud whose token endpoint is the default: public, us-government, china, france, germany or singapore [default:
    /// that of AZURE_AUTHORITY_HOST, otherwise public]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["authority", "token_endpoint"], help_heading = "Connections")]
    cloud: Option<Cloud>,

    /// The authority whose token endpoint is the default, in place of that of a cloud [env: AZURE_AUTHORITY_HOST]
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

    /// The default token endpoint of the cloud; `environment` is the value of `AZURE_AUTHORITY_HOST`, if it is set. The host of an
    /// unknown authority there is not used: reports contain no values of variables.
    pub(crate) fn cloud_endpoint(
        &self,
        environment: Option<&str>,
    ) -> Result<CloudEndpoint, Failure> {
        let named = match (self.cloud, &self.authority) {
            (Some(cloud), _) => Some(Authority::of_cloud(cloud)),
            (None, Some(url)) => Some(Authority::parse(url).map_err(Failure::before_work)?),
            (None, None) => None,
        };
        let is_named = named.is_some();
        let authority = named.or_else(|| {
            let Some(url) = environment.filter(|url| !url.is_empty()) else {
                return Some(Authority::of_cloud(Cloud::Public));
            };
            let url = Url::parse(url).ok()?;
            Cloud::of_authority(url.host_str()?).map(Authority::of_cloud)
        });
        let url = authority.map(|authority| authority.mtls_origin().cloned());
        let url = url.transpose().map_err(|_| {
            Failure::Usage(
                "--authority: its token endpoint for mutual TLS is unknown: name that with --token-endpoint".to_owned(),
            )
        })?;
        Ok(CloudEndpoint { url, is_named })
    }
}

/// The default token endpoint of a cloud.
#[derive(Clone, Debug)]
pub(crate) struct CloudEndpoint {
    /// `None`: the environment names an unknown authority.
    pub(crate) url: Option<Url>,
    /// Whether an option names the cloud.
    pub(crate) is_named: bool,
}

const AFTER_HELP: &str = "\
Examples:
  keybound doctor
  keybound doctor --bearer
  keybound doctor --json | jq '.checks[] | select(.result == \"problem\")'
  keybound emulator --exec -- keybound doctor --simulated

JSON:
  ok, time, program {version, openssl, os, architecture},
  request {token, min_strength, attestation, simulated}: token is mtls_pop or bearer,
  checks [{check, result, detail, next_step, elapsed_ms, error}]: result is ok, warning, problem or
  skipped; next_step is null without a warning or problem; error is null, or {code, stage, message,
  status, service, retryable, deadline_exceeded, next_step}
  Checks: source, environment, imds, machine, binding, attestation, certificates, federated, proxy,
  dns, tls, clock

Exit codes: 0 no problem, perhaps warnings, 1 a problem, 2 wrong usage, 128 + N signal N stopped it.";
