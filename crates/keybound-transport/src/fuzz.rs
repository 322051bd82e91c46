//! Parsers of untrusted input, for fuzz targets. Not part of the interface.
use crate::ProxyConfig;
use crate::handshake_parser::HandshakeParser;
use crate::origin::Origin;
use crate::tunnel;
use keybound_core::tls::Host;

/// Host and port of the proxy for a server; `None` if the host is malformed, an inner `None` for a direct connection.
pub fn proxy_for(config: &ProxyConfig, host: &str, port: u16) -> Option<Option<(String, u16)>> {
    let host = Host::parse(host)?;
    let proxy = config.for_origin(&Origin { host, port }).ok()?;
    Some(proxy.map(|proxy| (proxy.host.clone(), proxy.port)))
}

/// The events in these pieces of a server's handshake, as text.
pub fn handshake_events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut parser = HandshakeParser::default();
    let mut events = vec![];
    for piece in pieces {
        parser.parse(piece, |event| events.push(format!("{event:?}")));
    }
    events
}

/// The state of a proxy's response to CONNECT, as text.
pub fn connect_response(bytes: &[u8]) -> String {
    format!("{:?}", tunnel::parse(bytes))
}
