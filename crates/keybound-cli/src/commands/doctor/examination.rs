use super::progress::Progress;
use super::proxies::SourceAddress;
use super::target::Target;
use super::token_endpoint::Connection;
use super::variables::Variables;
use super::{certificates, clock, host, proxies};
use crate::args::{CloudEndpoint, DoctorArgs};
use crate::diagnosis::{Finding, attestation_library, imds_version};
use crate::failure::Failure;
use crate::session;
use clock::ServiceTime;
use keybound::capabilities::Capabilities;
use keybound::store::StoredCertificate;
use keybound::tls::{ProxyConfig, TrustAnchors};
use keybound::{
    Attestation, Environment, Error, ErrorKind, KeyStrength, ManagedIdentityClient,
    ManagedIdentityClientBuilder, ManagedIdentitySource, Stage,
};
use keybound_core::EndpointPolicy;
use keybound_core::source::{SourceEndpoint, SourceVariables};
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use url::Url;

/// The checks of this host, with what they need.
pub(super) struct Examination<'a> {
    args: &'a DoctorArgs,
    client: ManagedIdentityClient,
    trust: TrustAnchors,
    proxy: ProxyConfig,
    variables: Variables,
    token_endpoint: Option<Url>,
    cloud: CloudEndpoint,
    started: Instant,
    progress: Progress,
}

/// What a check found.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) finding: Finding,
    /// `None` if nothing was waited for.
    pub(super) elapsed: Option<Duration>,
}

impl<'a> Examination<'a> {
    /// Resolves options and environment.
    ///
    /// # Errors
    /// [`Failure::Usage`] if a value is malformed or a file cannot be read; those of [`session::client_builder`].
    pub(super) fn new(args: &'a DoctorArgs) -> Result<Self, Failure> {
        session::check_host_effects(&args.host, args.source)?;
        let trust = session::trust(&args.host, None)?;
        let builder = session::client_builder(&args.host, trust.clone())?;
        Self::with(args, trust, builder, Variables::of_process())
    }

    /// With this builder of the client.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub(super) fn with(
        args: &'a DoctorArgs,
        trust: TrustAnchors,
        client: ManagedIdentityClientBuilder,
        variables: Variables,
    ) -> Result<Self, Failure> {
        let client = match args.source {
            Some(source) => client.managed_identity_source(source.into()),
            None => client,
        };
        let authority = std::env::var_os("AZURE_AUTHORITY_HOST");
        let authority = authority.map(|url| url.to_string_lossy().into_owned());
        Ok(Self {
            args,
            // Each check shows what happens now.
            client: client
                .retries(false)
                .build()
                .map_err(Failure::before_work)?,
            trust,
            proxy: Environment::from_process().proxy(),
            variables,
            token_endpoint: args.token_endpoint()?,
            cloud: args.cloud_endpoint(authority.as_deref())?,
            started: Instant::now(),
            progress: Progress::default(),
        })
    }

    pub(super) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Runs all checks, those that do not depend on each other at the same time.
    pub(super) async fn run(&self) -> Vec<Check> {
        let checks = async {
            tokio::join!(
                self.timed("imds", self.client.capabilities_within(self.limit())),
                self.timed("attestation", self.attestation()),
                self.timed("source", self.connect_source()),
                self.timed("clock", self.time_of_imds()),
                self.network(),
            )
        };
        let (found, attestation, connected, time_of_imds, network) =
            self.progress.report_during(checks).await;
        self.results(found, attestation, connected, time_of_imds.0, network)
    }

    fn results(
        &self,
        (found, elapsed): Timed<Capabilities>,
        attestation: Timed<Finding>,
        connected: Timed<Option<io::Result<()>>>,
        time_of_imds: Option<ServiceTime>,
        network: Network,
    ) -> Vec<Check> {
        let args = self.args;
        let check = |name, finding| Check {
            name,
            finding,
            elapsed: None,
        };
        let imds = transient_as_warning(imds_version(&found, args.bearer));
        let imds = host::with_workload_identity(imds, self.variables.names());
        let binding = host::binding(&found, &imds, args.bearer, args.host.min_strength.into());
        let times = time_of_imds.into_iter().chain(network.time);
        let set = self.variables.names();
        let source = self.source_address();
        vec![
            Check {
                elapsed: connected.0.is_some().then_some(connected.1),
                ..check("source", host::source(&found, set, connected.0))
            },
            check(
                "environment",
                host::environment(set, found.imds_v2_disabled && !args.bearer),
            ),
            Check {
                elapsed: Some(elapsed),
                ..check("imds", imds)
            },
            check("machine", host::machine(&found)),
            check("binding", binding),
            Check {
                elapsed: Some(attestation.1),
                ..check("attestation", attestation.0)
            },
            Check {
                elapsed: Some(network.certificates.1),
                ..check("certificates", network.certificates.0)
            },
            check(
                "proxy",
                proxies::judge(&self.proxy, set, source.as_ref(), network.proxied),
            ),
            Check {
                elapsed: Some(network.dns.1),
                ..check("dns", network.dns.0)
            },
            Check {
                elapsed: Some(network.tls.1),
                ..check("tls", network.tls.0)
            },
            check("clock", clock::judge(times)),
        ]
    }

    async fn attestation(&self) -> Finding {
        if self.args.bearer {
            return Finding::skipped("plain bearer tokens need no attested key");
        }
        attestation_library(&self.args.host, self.limit()).await
    }

    /// The time of IMDS, by the header of a request that it rejects.
    async fn time_of_imds(&self) -> Option<ServiceTime> {
        if self.client.managed_identity_source() != ManagedIdentitySource::Imds {
            return None;
        }
        clock::time_of_imds(&self.imds(), self.limit()).await
    }

    /// The stored certificates, and the token endpoint, which they may name.
    async fn network(&self) -> Network {
        let stored = self.timed("certificates", self.stored());
        let (stored, elapsed) = stored.await;
        let certificates = certificates::judge(&stored, self.args.bearer);
        let target = self.target(&stored.ok().flatten().unwrap_or_default());
        let connection = Connection {
            target: &target,
            allowed: target.check(&self.policy()),
            proxied: target.uses(&self.proxy),
        };
        let dns = self
            .timed(
                "dns",
                connection.resolve(|name| self.variables.mask(name), self.limit()),
            )
            .await;
        let tls = connection.connect(&dns.0, || self.https(), self.limit());
        let ((tls, time), tls_elapsed) = self.timed("tls", tls).await;
        Network {
            certificates: (certificates, elapsed),
            proxied: connection.proxied,
            dns,
            tls: (tls, tls_elapsed),
            time,
        }
    }

    async fn stored(&self) -> keybound::Result<Option<Vec<StoredCertificate>>> {
        let stored = self.client.stored_certificates();
        let stored = tokio::time::timeout(self.limit(), stored).await;
        let late = || {
            let message = "the certificate store did not respond in time";
            Error::new(ErrorKind::DeadlineExceeded, Stage::Credential, message)
        };
        let stored = stored.unwrap_or_else(|_| Err(late()))?;
        let host = &self.args.host;
        let attestation = match (host.simulated, host.no_attestation) {
            (_, true) => Attestation::None,
            (true, false) => Attestation::Simulated,
            (false, false) => Attestation::Attested,
        };
        // Weaker keys have other names.
        let needs_keyguard = KeyStrength::from(host.min_strength) == KeyStrength::KeyGuard;
        let named = std::env::var("MSAL_MSI_V2_KEY_NAME").ok();
        let key_name = named.filter(|name| !name.is_empty() && needs_keyguard && !host.simulated);
        Ok(stored.map(|all| certificates::of_request(all, attestation, key_name.as_deref())))
    }

    /// The token endpoint of the first certificate request or token request.
    fn target(&self, stored: &[StoredCertificate]) -> Target {
        if self.args.bearer {
            return Target::None("plain bearer tokens need no token endpoint");
        }
        if self.client.managed_identity_source() != ManagedIdentitySource::Imds {
            return Target::None("only IMDS has certificates for a token endpoint");
        }
        let of_stored = || {
            let newest = stored
                .iter()
                .max_by_key(|stored| stored.binding.certificate.effective_not_after())?;
            Url::parse(&newest.binding.endpoint).ok()
        };
        let named = self.token_endpoint.clone().or_else(of_stored);
        Target::of(
            named,
            session::has_loopback_imds(&self.args.host),
            &self.cloud,
        )
    }

    /// The rule for endpoints from IMDS, as the client has it.
    fn policy(&self) -> EndpointPolicy {
        let host = &self.args.host;
        let mut policy = EndpointPolicy::new(session::has_loopback_imds(host));
        if !host.allowed_hosts.is_empty() {
            policy = policy.with_allowed_hosts(host.allowed_hosts.clone());
        }
        match std::env::var_os("MSAL_MI_IMDSV2_ALLOWED_HOSTS") {
            Some(list) => policy.with_operator_hosts(&list.to_string_lossy()),
            None => policy,
        }
    }

    fn https(&self) -> keybound::Result<keybound_transport::HttpsClient> {
        session::https_client(&self.args.host, self.trust.clone(), self.proxy.clone())
    }

    fn imds(&self) -> Url {
        let configured = self.args.host.configured_imds();
        let configured = configured.and_then(|url| Url::parse(&url).ok());
        configured.unwrap_or_else(default_imds)
    }

    /// The address of the source; `None` if a variable of the source is missing or malformed.
    fn source_address(&self) -> Option<SourceAddress> {
        let url = match self.client.managed_identity_source() {
            ManagedIdentitySource::Imds => self.imds(),
            _ => self.source_endpoint()?,
        };
        Some(SourceAddress {
            name: self.client.managed_identity_source().to_string(),
            shown: self.variables.mask(url.host_str()?),
            url,
        })
    }

    /// The address of another source than IMDS; `None` if a variable of it is missing or malformed.
    fn source_endpoint(&self) -> Option<Url> {
        let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        let variables = SourceVariables::new(lookup, false);
        let source = self.client.managed_identity_source();
        let endpoint = SourceEndpoint::new(source, &variables, &self.imds()).ok()?;
        Some(endpoint.origin())
    }

    /// Connects to another source than IMDS, and sends nothing. `None` for IMDS, or if the address is not known.
    async fn connect_source(&self) -> Option<io::Result<()>> {
        if self.client.managed_identity_source() == ManagedIdentitySource::Imds {
            return None;
        }
        let url = self.source_endpoint()?;
        let port = url.port_or_known_default()?;
        // Without the brackets of an IPv6 address, as names are looked up.
        let host = url
            .host_str()?
            .trim_start_matches('[')
            .trim_end_matches(']');
        let connecting = TcpStream::connect((host, port));
        let connected = tokio::time::timeout(self.limit(), connecting).await;
        Some(match connected {
            Ok(connected) => connected.map(drop),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        })
    }

    /// The time for a check that starts now.
    fn limit(&self) -> Duration {
        let remaining = self
            .args
            .host
            .timeout
            .saturating_sub(self.started.elapsed());
        remaining.min(CHECK_LIMIT)
    }

    async fn timed<T>(&self, name: &'static str, check: impl Future<Output = T>) -> Timed<T> {
        let _running = self.progress.enter(name);
        let started = Instant::now();
        (check.await, started.elapsed())
    }
}

/// An error that requests retry, which this program does not: tokens may work.
pub(super) fn transient_as_warning(finding: Finding) -> Finding {
    match &finding.error {
        Some(error) if error.kind() == ErrorKind::ServiceUnavailable => {
            finding.into_warning().with_next_step(
                "run this command again: requests retry this; if it remains, IMDS is failing or throttling this host",
            )
        }
        _ => finding,
    }
}

/// The checks if a malformed variable keeps all others from running.
///
/// # Errors
/// The failure, if a variable is not its reason.
pub(super) fn blocked_by_variable(
    args: &DoctorArgs,
    failure: Failure,
    variables: &Variables,
) -> Result<Vec<Check>, Failure> {
    let reason = match failure {
        Failure::Usage(reason) if names_variable(args, &reason) => variables.mask(&reason),
        failure => return Err(failure),
    };
    let check = |name| Check {
        name,
        finding: match name {
            "environment" => host::malformed_variable(&reason, variables.names()),
            _ => Finding::skipped("not checked, since a variable is malformed: see environment"),
        },
        elapsed: None,
    };
    Ok(CHECKS.into_iter().map(check).collect())
}

/// Whether a malformed value is that of a variable, and not of the option for the same.
fn names_variable(args: &DoctorArgs, reason: &str) -> bool {
    let imds = args.host.imds().is_none() && reason.contains("AZURE_POD_IDENTITY_AUTHORITY_HOST");
    imds || reason.starts_with("KEYBOUND_CA_FILE ")
}

type Timed<T> = (T, Duration);

/// The names of all checks, in the order of the report.
pub(super) const CHECKS: [&str; 11] = [
    "source",
    "environment",
    "imds",
    "machine",
    "binding",
    "attestation",
    "certificates",
    "proxy",
    "dns",
    "tls",
    "clock",
];

/// What the checks of certificates, names and connections found.
struct Network {
    certificates: Timed<Finding>,
    proxied: keybound::Result<bool>,
    dns: Timed<Finding>,
    tls: Timed<Finding>,
    time: Option<ServiceTime>,
}

fn default_imds() -> Url {
    let parsed = Url::parse(DEFAULT_IMDS);
    #[expect(clippy::expect_used, reason = "a constant")]
    parsed.expect("the address of IMDS is a URL")
}

const DEFAULT_IMDS: &str = "http://169.254.169.254";
/// For each check: longer than any service of a healthy host needs.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
