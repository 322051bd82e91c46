//! From a target to a connection: name, TCP, proxy, TLS, HTTP.
use crate::connection::Connection;
use crate::driver::Place;
use crate::engine::Engine;
use crate::failure::Peer;
use crate::proxy::Proxy;
use crate::target::{Host, Target};
use crate::{TlsVersions, TransportError, TransportErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
            notes: Some(Arc::clone(session.notes())),
            key_failures: engine.key_failures().cloned(),
        };
        let tcp = self.tcp().await?;
        session.connect(tcp, peer, place).await
    }

    /// Connects and starts plain HTTP.
    pub(crate) async fn connect_plain(self, place: Place) -> Result<Connection, TransportError> {
        let peer = Peer {
            name: self.target.name(),
            notes: None,
            key_failures: None,
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
        let name = format!("the proxy {}:{}", proxy.host, proxy.port);
        let addresses = lookup(&proxy.host, proxy.port)
            .await
            .map_err(|error| unresolved(TransportErrorKind::Proxy, &name, error))?;
        let mut stream = dial(&addresses, self.deadline, &name, TransportErrorKind::Proxy).await?;
        tunnel(&mut stream, proxy, &self.target).await?;
        Ok(stream)
    }
}

/// The addresses of a target; those of a loopback host are loopback addresses whatever the resolver says, as more may be
/// trusted there.
async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, TransportError> {
    let fail = |error| unresolved(TransportErrorKind::Connect, &target.name(), error);
    match &target.host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, target.port)]),
        Host::Name(name) => {
            let mut addresses = lookup(name, target.port).await.map_err(fail)?;
            if target.host.is_loopback() {
                addresses.retain(|address| address.ip().is_loopback());
            }
            Ok(addresses)
        }
    }
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

/// Asks the proxy for a tunnel to the target (RFC 9110, 9.3.6).
async fn tunnel(
    stream: &mut TcpStream,
    proxy: &Proxy,
    target: &Target,
) -> Result<(), TransportError> {
    let name = format!("the proxy {}:{}", proxy.host, proxy.port);
    let fail =
        |what: &str| TransportError::new(TransportErrorKind::Proxy, format!("{name} {what}"));
    let Target { host, port } = target;
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| fail("closed the connection").with_source(error))?;
    let mut head = Vec::with_capacity(1024);
    loop {
        let read = stream
            .read_buf(&mut head)
            .await
            .map_err(|error| fail("closed the connection").with_source(error))?;
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            // The server's side of the tunnel does not speak first.
            if head.len() > end + 4 {
                return Err(fail("sent more than its answer"));
            }
            break;
        }
        if read == 0 {
            return Err(fail("closed the connection"));
        }
        if head.len() > MAX_PROXY_HEAD {
            return Err(fail("answered with a longer head than allowed"));
        }
    }
    match status(&head) {
        Some(200..300) => Ok(()),
        Some(407) => Err(fail("wants other credentials than it was given")),
        Some(status) => Err(fail(&format!("refused the tunnel with status {status}"))),
        None => Err(fail("did not answer in the way of http/1.1")),
    }
}

/// The status of a head, `HTTP/1.x nnn …`.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let (minor, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?.get(..3)?;
    let ended = matches!(rest.get(4), Some(b' ' | b'\r'));
    let fits = minor.is_ascii_digit() && digits.iter().all(u8::is_ascii_digit) && ended;
    fits.then(|| {
        digits
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
    })
}

const MAX_ADDRESSES: usize = 8;
const MAX_PROXY_HEAD: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 407\r\n\r\n", Some(407)),
            ("HTTP/1.1 2000 OK\r\n\r\n", None),
            ("HTTP/1.1 20\r\n\r\n", None),
            ("HTTP/2 200\r\n\r\n", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(status(line.as_bytes()), expected, "{line}");
        }
    }
}
