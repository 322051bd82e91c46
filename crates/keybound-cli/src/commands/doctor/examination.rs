mod network;
mod source;

use super::clock::{self, ServiceTime};
use super::federated::{self, WorkloadIdentity};
use super::progress::Progress;
use super::variables::Variables;
use super::{host, proxies};
use crate::args::{ChosenAuthority, DoctorArgs};
use crate::diagnosis::{Finding, Level, attestation_library};
use crate::failure::Failure;
use crate::session;
use keybound::capabilities::Capabilities;
use keybound::tls::{ProxyConfig, TrustAnchors};
use keybound::{Environment, ErrorKind, ManagedIdentityClient, ManagedIdentityClientBuilder};
use keybound_core::Authority;
use network::Network;
use std::io;
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
    authority: ChosenAuthority,
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
        args.check_effects()?;
        let authority = args.authority(variable(AUTHORITY).as_deref())?.authority;
        let connected = authority.as_ref().map(Authority::origin);
        let connected = connected.ok().filter(|_| args.workload_identity);
        let trust = session::trust(&args.host, connected)?;
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
            authority: args.authority(variable(AUTHORITY).as_deref())?,
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
                self.timed("imds", self.capabilities()),
                self.timed("attestation", self.attestation()),
                self.timed("federated", self.federated()),
                self.timed("source", self.connect_source()),
                self.timed("clock", self.time_of_imds()),
                self.network(),
            )
        };
        let (found, attestation, federated, connected, time_of_imds, network) =
            self.progress.report_during(checks).await;
        self.results(
            found,
            attestation,
            federated,
            connected,
            time_of_imds.0,
            network,
        )
    }

    fn results(
        &self,
        (found, elapsed): Timed<Option<Capabilities>>,
        attestation: Timed<Finding>,
        federated: Timed<Finding>,
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
        let timed = |name, (finding, elapsed): Timed<Finding>| Check {
            elapsed: (finding.level != Level::Skipped).then_some(elapsed),
            ..check(name, finding)
        };
        let v2_disabled = found.as_ref().is_some_and(|found| found.imds_v2_disabled);
        let source_elapsed = connected.0.is_some().then_some(connected.1);
        let [of_source, imds, machine, binding] = match found {
            Some(found) => self.of_identity(&found, connected.0, federated.0.level),
            None => [(); 4].map(|()| Finding::skipped(NO_IDENTITY)),
        };
        let times = time_of_imds.into_iter().chain(network.time);
        let set = self.variables.names();
        let source = self.source_address();
        vec![
            Check {
                elapsed: source_elapsed,
                ..check("source", of_source)
            },
            check(
                "environment",
                host::environment(set, v2_disabled && !args.bearer, &self.authority.authority),
            ),
            timed("imds", (imds, elapsed)),
            check("machine", machine),
            check("binding", binding),
            timed("attestation", attestation),
            timed("certificates", network.certificates),
            timed("federated", federated),
            check(
                "proxy",
                proxies::judge(&self.proxy, set, source.as_ref(), network.proxied),
            ),
            timed("dns", network.dns),
            timed("tls", network.tls),
            check("clock", clock::judge(times)),
        ]
    }

    async fn attestation(&self) -> Finding {
        if self.args.bearer {
            return Finding::skipped("plain bearer tokens need no attested key");
        }
        attestation_library(&self.args.host, self.limit()).await
    }

    async fn federated(&self) -> Finding {
        let authority = self.authority.authority.as_ref().ok();
        let workload_identity = WorkloadIdentity::new(variable, authority);
        let finding = workload_identity.examine(self.limit()).await;
        match self.args.workload_identity {
            true => federated::required(finding),
            false => finding,
        }
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

/// Invalid Unicode is replaced, as in the library.
fn variable(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
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

type Timed<T> = (T, Duration);

const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const NO_IDENTITY: &str = "AKS workload identity needs no managed identity";

/// The names of all checks, in the order of the report.
pub(super) const CHECKS: [&str; 12] = [
    "source",
    "environment",
    "imds",
    "machine",
    "binding",
    "attestation",
    "certificates",
    "federated",
    "proxy",
    "dns",
    "tls",
    "clock",
];

/// For each check: longer than any service of a healthy host needs.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
