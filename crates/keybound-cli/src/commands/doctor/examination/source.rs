//! The source of tokens: its address, a connection to it, its time.
use super::super::clock::{self, ServiceTime};
use super::super::host;
use super::super::proxies::SourceAddress;
use super::{Examination, transient_as_warning, variable};
use crate::diagnosis::{Finding, Level, imds_version};
use keybound::ManagedIdentitySource;
use keybound::capabilities::Capabilities;
use keybound_core::source::{SourceEndpoint, SourceVariables};
use std::io;
use tokio::net::TcpStream;
use url::Url;

impl Examination<'_> {
    /// The findings about the managed identity: source, IMDS, machine, binding.
    pub(super) fn of_identity(
        &self,
        found: &Capabilities,
        connected: Option<io::Result<()>>,
        federated: Level,
    ) -> [Finding; 4] {
        let args = self.args;
        let imds = transient_as_warning(imds_version(found, args.bearer));
        let imds = host::with_workload_identity(imds, federated, args.bearer);
        let binding = host::binding(found, &imds, args.bearer, args.host.min_strength.into());
        let source = host::source(
            found,
            self.variables.names(),
            connected,
            args.host.simulated && args.source.is_none(),
        );
        [source, imds, host::machine(found), binding]
    }

    /// `None` if tokens do not depend on the managed identity.
    pub(super) async fn capabilities(&self) -> Option<Capabilities> {
        match self.args.workload_identity {
            true => None,
            false => Some(self.client.capabilities_within(self.limit()).await),
        }
    }

    /// The time of IMDS, by the header of a request that it rejects.
    pub(super) async fn time_of_imds(&self) -> Option<ServiceTime> {
        if self.args.workload_identity
            || self.client.managed_identity_source() != ManagedIdentitySource::Imds
        {
            return None;
        }
        clock::time_of_imds(&self.imds(), self.limit()).await
    }

    fn imds(&self) -> Url {
        let configured = self.args.host.configured_imds();
        let configured = configured.and_then(|url| Url::parse(&url).ok());
        configured.unwrap_or_else(default_imds)
    }

    /// The address of the source; `None` if it does not matter, or a variable of the source is missing or malformed.
    pub(super) fn source_address(&self) -> Option<SourceAddress> {
        if self.args.workload_identity {
            return None;
        }
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
        let variables = SourceVariables::new(variable, false);
        let source = self.client.managed_identity_source();
        let endpoint = SourceEndpoint::new(source, &variables, &self.imds()).ok()?;
        Some(endpoint.origin())
    }

    /// Connects to another source than IMDS, and sends nothing. `None` for IMDS, or if the address is not known or does not matter.
    pub(super) async fn connect_source(&self) -> Option<io::Result<()>> {
        if self.args.workload_identity
            || self.client.managed_identity_source() == ManagedIdentitySource::Imds
        {
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
}

fn default_imds() -> Url {
    let parsed = Url::parse(DEFAULT_IMDS);
    #[expect(clippy::expect_used, reason = "a constant")]
    parsed.expect("the address of IMDS is a URL")
}

const DEFAULT_IMDS: &str = "http://169.254.169.254";
