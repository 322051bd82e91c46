//! From a target to a connection: name, TCP, proxy, TLS, HTTP.
use crate::connection::Connection;
use crate::driver::Place;
use crate::engine::Engine;
use crate::failure::Peer;
use crate::proxy::Proxy;
use crate::target::Target;
use crate::tunnel;
use crate::{TlsVersions, TransportError, TransportErrorKind};
use keybound_core::tls::Host;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// What a connection is made from.
pub(crate) struct Route {
    pub(crate) target: Target,
    pub(crate) proxy: Option<Arc<Proxy>>,
    pub(crate) deadline: Instant,
}

impl Route {
    /// Connects and starts HTTP over TLS.
    pub(crate) async fn connect_tls(
        self,
        engine: Arc<Engine>,
        versions: TlsVersions,
        place: Place,
    ) -> Result<Connection, TransportError> {
        let session = engine.session(&self.target.host, versions)?;
        let peer = Peer {
            name: self.target.name(),
            state: Some(Arc::clone(session.state())),
            last_key_error: engine.last_key_error().cloned(),
        };
        let tcp = self.tcp().await?;
        session.connect(tcp, peer, place).await
    }

    /// Connects and starts plain HTTP.
    pub(crate) async fn connect_plain(self, place: Place) -> Result<Connection, TransportError> {
        let peer = Peer {
            name: self.target.name(),
            state: None,
            last_key_error: None,
        };
        let tcp = self.tcp().await?;
        Connection::start(tcp, peer, place).await
    }

    async fn tcp(&self) -> Result<TcpStream, TransportError> {
        let Some(proxy) = &self.proxy else {
            let addresses = resolve(&self.target).await?;
            return dial(
                &addresses,
                self.deadline,
                &self.target.name(),
                TransportErrorKind::Connect,
            )
            .await;
        };
        let name = proxy.name();
        let addresses = lookup(&proxy.host, proxy.port)
            .await
            .map_err(|error| unresolved(TransportErrorKind::Proxy, &name, error))?;
        let mut stream = dial(&addresses, self.deadline, &name, TransportErrorKind::Proxy).await?;
        let opened = tunnel::open(&mut stream, proxy, &self.target);
        match timeout_at(self.deadline, opened).await {
            Ok(opened) => opened.map(|()| stream),
            Err(elapsed) => Err(TransportError::new(
                TransportErrorKind::Timeout,
                format!(
                    "{name} did not answer within the time given when asked for a tunnel to {}",
                    self.target.name()
                ),
            )
            .with_source(elapsed)),
        }
    }
}

/// The addresses of a target; those of a loopback host are loopback addresses whatever the resolver returns, as more may
/// be trusted there.
async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, TransportError> {
    let fail = |error| unresolved(TransportErrorKind::Connect, &target.name(), error);
    match &target.host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, target.port)]),
        Host::Name(name) => {
            let addresses = lookup(name, target.port).await.map_err(fail)?;
            Ok(trusted_addresses(&target.host, addresses))
        }
    }
}

fn trusted_addresses(host: &Host, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if host.is_loopback() {
        addresses.retain(|address| address.ip().is_loopback());
    }
    addresses
}

async fn lookup(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    Ok(lookup_host((host, port))
        .await?
        .take(MAX_ADDRESSES)
        .collect())
}

fn unresolved(kind: TransportErrorKind, name: &str, error: std::io::Error) -> TransportError {
    TransportError::new(kind, format!("{name} has no known address"))
        .with_connection_lost()
        .with_source(error)
}

/// Tries the addresses in turn. Each gets its share of the time that is left, so that a dead one does not use it up.
async fn dial(
    addresses: &[SocketAddr],
    deadline: Instant,
    name: &str,
    kind: TransportErrorKind,
) -> Result<TcpStream, TransportError> {
    let fail =
        || TransportError::new(kind, format!("no connection to {name}")).with_connection_lost();
    let mut last = fail();
    for (index, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is written in one or two pieces that should not wait for each other.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = fail().with_source(error),
            Err(elapsed) if index + 1 == addresses.len() => {
                return Err(TransportError::new(
                    TransportErrorKind::Timeout,
                    format!("{name} did not accept a connection within the time given"),
                )
                .with_source(elapsed));
            }
            Err(elapsed) => last = fail().with_source(elapsed),
        }
    }
    Err(last)
}

const MAX_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_name_leads_to_loopback_addresses_only() {
        let all = ["192.0.2.1:1", "127.0.0.2:1", "[::1]:1", "[2001:db8::1]:1"]
            .map(|address| address.parse::<SocketAddr>().unwrap());
        for (host, expected) in [("localhost", &all[1..3]), ("a.example", &all[..])] {
            let host = Host::parse(host).unwrap();
            assert_eq!(trusted_addresses(&host, all.to_vec()), expected);
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_a_lost_connection() {
        // A label of more than 63 characters: no server is asked for it.
        let unknown = lookup(&"x".repeat(64), 1).await.unwrap_err();
        let error = unresolved(TransportErrorKind::Connect, "x", unknown);
        assert!(error.is_connection_lost());
    }
}
