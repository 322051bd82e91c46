use crate::config::{HostName, NetworkConfig};
use crate::endpoints::Endpoints;
use crate::service::Service;
use crate::start_error::StartError;
use std::io;
use std::net::{SocketAddr, TcpListener};
use url::Url;

/// One bound listener for each service.
pub(crate) struct Listeners(pub Vec<(Service, TcpListener)>);

impl Listeners {
    pub fn bind(network: &NetworkConfig) -> Result<Self, StartError> {
        let mut services = Service::ALL;
        // Services with a fixed port bind first, so that no other service gets that port as a free one.
        services.sort_by_key(|service| network.port(*service) == 0);
        let bind = |service| {
            let address = SocketAddr::new(network.bind, network.port(service));
            TcpListener::bind(address)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| (service, listener)))
                .map_err(|source| StartError::Listen { address, source })
        };
        services
            .into_iter()
            .map(bind)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn endpoints(&self, host: HostName) -> Result<Endpoints, StartError> {
        let endpoint = |(service, listener): &(Service, TcpListener)| {
            let (scheme, address) = (service.scheme(), listener.local_addr()?);
            // Clients resolve localhost to both address families, and the emulator listens on one: another program may have
            // the port on the other. It has no certificate for TLS; over plain HTTP it would receive the control secret.
            let text = match host {
                HostName::Localhost if scheme == "https" => {
                    format!("https://localhost:{}/", address.port())
                }
                _ => format!("{scheme}://{address}/"),
            };
            let url = Url::parse(&text).map_err(io::Error::other)?;
            Ok((*service, url))
        };
        let endpoints = self.0.iter().map(endpoint).collect::<io::Result<_>>();
        endpoints.map(Endpoints).map_err(StartError::Host)
    }
}
