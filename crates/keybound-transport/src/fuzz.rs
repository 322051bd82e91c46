//! Parsers of outside text, for fuzz targets. Not part of the interface.
use crate::ProxyConfig;
use crate::observer::Observer;
use crate::target::Target;
use crate::tunnel;
use keybound_core::tls::Host;

/// Host and port of the proxy for a target; `None` where the text is no host; the inner `None` is a direct connection.
pub fn proxy_for(config: &ProxyConfig, host: &str, port: u16) -> Option<Option<(String, u16)>> {
    let host = Host::parse(host)?;
    let proxy = config.for_target(&Target { host, port }).ok()?;
    Some(proxy.map(|proxy| (proxy.host.clone(), proxy.port)))
}

/// What an observer of a handshake reports, as text, for these pieces of a server's bytes.
pub fn seen_in_handshake<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut observer = Observer::default();
    let mut seen = vec![];
    for piece in pieces {
        observer.observe(piece, |what| seen.push(format!("{what:?}")));
    }
    seen
}

/// The state of a proxy's response to CONNECT, as text.
pub fn proxy_answer(bytes: &[u8]) -> String {
    format!("{:?}", tunnel::read(bytes))
}
