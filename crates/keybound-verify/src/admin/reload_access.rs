use crate::host;
use crate::listener::Listener;
use http::header::{HOST, ORIGIN};
use http::{Extensions, HeaderMap, HeaderValue};
use keybound_resource::source::{Peer, PeerAddress};
use std::net::{IpAddr, Ipv6Addr};

/// Whether operators may request a reload on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloadAccess {
    /// A Unix socket: its permissions limit who can connect.
    Socket,
    /// TCP on loopback: programs of this host, among them browsers.
    Loopback,
    /// None. The address of the peer proves nothing: the side-car of a mesh connects from loopback, for peers elsewhere.
    Denied,
}

impl ReloadAccess {
    pub(crate) fn of(listener: &Listener) -> Self {
        let address = listener.address().map(|address| address.ip());
        let is_loopback = address.is_some_and(|address| address.to_canonical().is_loopback());
        match (listener.is_unix_socket(), is_loopback) {
            (true, _) => Self::Socket,
            (false, true) => Self::Loopback,
            (false, false) => Self::Denied,
        }
    }

    /// Checks a request.
    ///
    /// # Errors
    /// Why it is denied.
    pub(super) fn check(
        self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<(), &'static str> {
        match self {
            Self::Socket => Ok(()),
            Self::Loopback if !is_local(extensions) => Err(ONLY_LOCAL),
            // Browsers send `Origin` with each POST. The host of a page whose name was made to resolve to loopback is another one.
            Self::Loopback if headers.contains_key(ORIGIN) || !has_local_host(headers) => {
                Err("a reload is not accepted from a web page")
            }
            Self::Loopback => Ok(()),
            Self::Denied => Err(ONLY_LOCAL),
        }
    }
}

fn is_local(extensions: &Extensions) -> bool {
    let address = extensions.get::<Peer>().map(Peer::address);
    matches!(address, Some(PeerAddress::Tcp(address)) if address.ip().to_canonical().is_loopback())
}

/// Whether the header `Host` is `localhost` or an address on loopback.
fn has_local_host(headers: &HeaderMap) -> bool {
    let authority = headers.get(HOST).map(HeaderValue::to_str);
    let Some(Ok(authority)) = authority else {
        return false;
    };
    let Some(name) = host::normalized(authority) else {
        return false;
    };
    let version_6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let address: Option<IpAddr> = match version_6 {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    };
    name == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback())
}

const ONLY_LOCAL: &str = "a reload is accepted on a Unix socket or a loopback address of [admin] only: use one of them, or send SIGHUP to the daemon";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn reloads_are_for_programs_of_this_host() {
        const PAGE: &str = "a reload is not accepted from a web page";
        let from = |peer: &str, host: &str, origin: Option<&str>, access: ReloadAccess| {
            let mut headers = HeaderMap::new();
            if !host.is_empty() {
                headers.insert(HOST, host.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            let mut extensions = Extensions::new();
            let address = match peer {
                "" => PeerAddress::UnixSocket,
                address => PeerAddress::Tcp(SocketAddr::new(address.parse().unwrap(), 40_000)),
            };
            extensions.insert(Peer::new(address));
            access.check(&headers, &extensions)
        };
        for (peer, host, origin, access, expected) in [
            ("", "a", None, ReloadAccess::Socket, Ok(())),
            (
                "127.0.0.1",
                "localhost",
                None,
                ReloadAccess::Loopback,
                Ok(()),
            ),
            (
                "127.0.0.1",
                "Localhost:9444",
                None,
                ReloadAccess::Loopback,
                Ok(()),
            ),
            (
                "::ffff:127.0.0.1",
                "127.0.0.2:9444",
                None,
                ReloadAccess::Loopback,
                Ok(()),
            ),
            ("::1", "[::1]:9444", None, ReloadAccess::Loopback, Ok(())),
            (
                "127.0.0.1",
                "localhost:9444",
                Some("http://localhost:9444"),
                ReloadAccess::Loopback,
                Err(PAGE),
            ),
            (
                "127.0.0.1",
                "localhost:9444",
                Some("null"),
                ReloadAccess::Loopback,
                Err(PAGE),
            ),
            (
                "127.0.0.1",
                "page.example:9444",
                None,
                ReloadAccess::Loopback,
                Err(PAGE),
            ),
            (
                "127.0.0.1",
                "127.0.0.1.page.example",
                None,
                ReloadAccess::Loopback,
                Err(PAGE),
            ),
            (
                "127.0.0.1",
                "10.0.0.7:9444",
                None,
                ReloadAccess::Loopback,
                Err(PAGE),
            ),
            ("127.0.0.1", "", None, ReloadAccess::Loopback, Err(PAGE)),
            // A host that routes packets for loopback addresses from elsewhere.
            (
                "10.0.0.7",
                "localhost",
                None,
                ReloadAccess::Loopback,
                Err(ONLY_LOCAL),
            ),
            // The side-cars of meshes.
            (
                "127.0.0.6",
                "localhost",
                None,
                ReloadAccess::Denied,
                Err(ONLY_LOCAL),
            ),
            (
                "127.0.0.1",
                "127.0.0.1:9444",
                None,
                ReloadAccess::Denied,
                Err(ONLY_LOCAL),
            ),
        ] {
            let found = from(peer, host, origin, access);
            assert_eq!(found, expected, "{peer} {host} {origin:?} {access:?}");
        }
    }
}
