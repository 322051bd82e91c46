//! The route to a server: name lookup, TCP, proxy, TLS, HTTP.
use crate::connection::Connection;
use crate::engine::Engine;
use crate::origin::Origin;
use crate::peer::Peer;
use crate::proxy::HttpProxy;
use crate::runtime_thread::RuntimeHandle;
use crate::tunnel;
use crate::{TlsVersions, TransportError, TransportErrorKind};
use keybound_core::tls::Host;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// Where and how to connect.
pub(crate) struct Route {
    pub(crate) origin: Origin,
    pub(crate) proxy: Option<Arc<HttpProxy>>,
    pub(crate) deadline: Instant,
}

impl Route {
    /// Connects and starts HTTP over TLS.
    pub(crate) async fn connect_tls(
        self,
        engine: Arc<Engine>,
        versions: TlsVersions,
        runtime: RuntimeHandle,
    ) -> Result<Box<Connection>, TransportError> {
        let session = engine.session(&self.origin.host, versions)?;
        let peer = Peer {
            name: self.origin.name(),
            state: Some(Arc::clone(session.state())),
            last_key_error: engine.last_key_error().cloned(),
        };
        let tcp = self.tcp().await?;
        session.connect(tcp, peer, runtime).await
    }

    /// Connects and starts plain HTTP.
    pub(crate) async fn connect_plain(
        self,
        runtime: RuntimeHandle,
    ) -> Result<Box<Connection>, TransportError> {
        let peer = Peer {
            name: self.origin.name(),
            state: None,
            last_key_error: None,
        };
        let tcp = self.tcp().await?;
        Connection::start(tcp, peer, runtime).await
    }

    async fn tcp(&self) -> Result<TcpStream, TransportError> {
        let Some(proxy) = &self.proxy else {
            let addresses = resolve(&self.origin).await?;
            let name = self.origin.name();
            return dial(
                &addresses,
                self.deadline,
                &name,
                TransportErrorKind::Connect,
            )
            .await;
        };
        let name = proxy.name();
        let addresses = lookup(&proxy.host, proxy.port)
            .await
            .map_err(|error| unresolved(TransportErrorKind::Proxy, &name, error))?;
        let mut stream = dial(&addresses, self.deadline, &name, TransportErrorKind::Proxy).await?;
        let opened = tunnel::open(&mut stream, proxy, &self.origin);
        match timeout_at(self.deadline, opened).await {
            Ok(opened) => opened.map(|()| stream),
            Err(elapsed) => Err(TransportError::new(
                TransportErrorKind::Timeout,
                format!(
                    "{name} did not open a tunnel to {} before the deadline",
                    self.origin.name()
                ),
            )
            .with_source(elapsed)),
        }
    }
}

/// The addresses of an origin. For a loopback host, only loopback addresses are used, whatever the resolver returns: more trust
/// anchors may apply there.
async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, TransportError> {
    let fail = |error| unresolved(TransportErrorKind::Connect, &origin.name(), error);
    match &origin.host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, origin.port)]),
        Host::Name(name) => {
            let addresses = lookup(name, origin.port).await.map_err(fail)?;
            Ok(usable_addresses(&origin.host, addresses))
        }
    }
}

fn usable_addresses(host: &Host, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if host.is_loopback() {
        addresses.retain(|address| address.ip().is_loopback());
    }
    addresses
}

async fn lookup(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    Ok(first_addresses(lookup_host((host, port)).await?))
}

/// The addresses that are tried: a resolver may return any number.
fn first_addresses(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    addresses.take(MAX_ADDRESSES).collect()
}

fn unresolved(kind: TransportErrorKind, name: &str, error: std::io::Error) -> TransportError {
    TransportError::new(kind, format!("{name} has no known address"))
        .with_connection_lost()
        .with_source(error)
}

/// Tries the addresses in turn. Each gets a share of the remaining time, so that an unreachable one does not use it up.
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
                // A request is written in one or two pieces, which should not wait for each other.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = fail().with_source(error),
            Err(elapsed) if index + 1 == addresses.len() => {
                return Err(TransportError::new(
                    TransportErrorKind::Timeout,
                    format!("{name} did not accept a connection before the deadline"),
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
    fn loopback_names_resolve_to_loopback_addresses() {
        let all = ["192.0.2.1:1", "127.0.0.2:1", "[::1]:1", "[2001:db8::1]:1"]
            .map(|address| address.parse::<SocketAddr>().unwrap());
        for (host, expected) in [("localhost", &all[1..3]), ("a.example", &all[..])] {
            let host = Host::parse(host).unwrap();
            assert_eq!(usable_addresses(&host, all.to_vec()), expected);
        }
    }

    #[test]
    fn tries_a_limited_number_of_addresses() {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let first: Vec<_> = (1..=8).map(address).collect();
        assert_eq!(first_addresses((1..=20).map(address)), first);
        assert_eq!(first_addresses((1..=3).map(address)), first[..3]);
    }

    #[tokio::test]
    async fn unknown_name_is_a_lost_connection() {
        // A label of more than 63 characters, for which no server is queried.
        let unknown = lookup(&"x".repeat(64), 1).await.unwrap_err();
        let error = unresolved(TransportErrorKind::Connect, "x", unknown);
        assert!(error.is_connection_lost());
    }
}
