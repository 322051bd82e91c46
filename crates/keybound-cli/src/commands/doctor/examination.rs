use super::progress::Progress;
use super::proxies::SourceAddress;
use super::token_endpoint::{Connection, Target};
use super::variables::Variables;
use super::{certificates, clock, host, proxies};
use crate::args::DoctorArgs;
use crate::diagnosis::{Finding, attestation_library, imds_version};
use crate::failure::Failure;
use crate::session;
use clock::ServiceTime;
use keybound::capabilities::Capabilities;
use keybound::store::StoredCertificate;
use keybound::tls::{ProxyConfig, TrustAnchors};
use keybound::{
    Environment, ManagedIdentityClient, ManagedIdentityClientBuilder, ManagedIdentitySource,
};
use keybound_core::EndpointPolicy;
use std::time::{Duration, Instant};
use url::Url;

/// The checks of this host, with what they need.
pub(super) struct Examination<'a> {
    args: &'a DoctorArgs,
    client: ManagedIdentityClient,
    trust: TrustAnchors,
    proxy: ProxyConfig,
    variables: Variables,
    token_endpoint: Option<Url>,
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
                self.timed("clock", self.time_of_imds()),
                self.network(),
            )
        };
        let (found, attestation, time_of_imds, network) = self.progress.report_during(checks).await;
        self.results(found, attestation, time_of_imds.0, network)
    }

    fn results(
        &self,
        (found, elapsed): Timed<Capabilities>,
        attestation: Timed<Finding>,
        time_of_imds: Option<ServiceTime>,
        network: Network,
    ) -> Vec<Check> {
        let args = self.args;
        let check = |name, finding| Check {
            name,
            finding,
            elapsed: None,
        };
        let imds = imds_version(&found, args.bearer);
        let binding = host::binding(&found, &imds, args.bearer, args.host.min_strength.into());
        let times = time_of_imds.into_iter().chain(network.time);
        let set = self.variables.names();
        let source = self.source_address();
        vec![
            check("source", host::source(&found)),
            check(
                "environment",
                host::environment(set, found.imds_v2_disabled),
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
        if !cfg!(windows) && !self.args.host.no_attestation && !self.args.host.simulated {
            return Finding::skipped("keys are attested on Windows only");
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
        let certificates = certificates::judge(stored.as_deref(), self.args.bearer);
        let target = self.target(stored.as_deref().unwrap_or_default());
        let connection = Connection {
            target: &target,
            allowed: target.check(&self.policy()),
            proxied: target.uses(&self.proxy),
        };
        let dns = self.timed("dns", connection.resolve(self.limit())).await;
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

    async fn stored(&self) -> Option<Vec<StoredCertificate>> {
        let stored = self.client.stored_certificates();
        // The store has timeouts too; one that hangs counts as empty.
        let stored = tokio::time::timeout(self.limit(), stored).await;
        stored.unwrap_or_else(|_| Some(Vec::new()))
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
        Target::of(named, session::has_loopback_imds(&self.args.host))
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
            _ => return None,
        };
        Some(SourceAddress {
            name: "IMDS",
            shown: self.variables.mask(url.host_str()?),
            url,
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

type Timed<T> = (T, Duration);

/// The names of all checks, in the order of the report.
#[cfg(test)]
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
