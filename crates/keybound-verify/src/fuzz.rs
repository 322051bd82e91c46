//! Entry points for fuzzers of the parsers. Not part of the API.
#![doc(hidden)]

use crate::ext_authz::grpc::message;
use crate::ext_authz::messages::CheckRequest;
use crate::{Config, Engine, FrontEnd, host, proxy_config, proxy_script};
use bytes::Bytes;
use keybound_resource::source::TrustedPeers;
use prost::Message as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// Reads a message of Envoy as for a decision, and as the body of a call. Its `Debug` has no header.
pub fn check_request(bytes: &[u8]) -> Option<String> {
    if let Ok(message) = message(Bytes::copy_from_slice(bytes)) {
        assert_eq!(message, bytes[5..]);
    }
    let request = CheckRequest::decode(bytes).ok()?;
    let shown = format!("{request:?}");
    let again = CheckRequest::decode(&*request.encode_to_vec());
    assert!(again.is_ok_and(|again| again == request));
    let source = Engine::Envoy.certificate_source(TrustedPeers::local());
    let certificate = source.parse_value(request.certificate());
    if let Some(normalized) = host::normalized(request.check(&certificate).host) {
        assert_eq!(host::normalized(&normalized), Some(normalized));
    }
    Some(shown)
}

/// Reads a configuration. What is printed for a proxy has no line, and no quote, more than for other values. The error, if there is one.
pub fn config(text: &str) -> Option<String> {
    let config = match Config::from_toml(text) {
        Ok(config) => config,
        Err(error) => return Some(error.to_string()),
    };
    for api in &config.apis {
        for name in &api.hosts {
            assert_eq!(host::normalized(name).as_ref(), Some(name));
        }
    }
    let address = config.listen.tcp.map(|address| address.ip());
    let is_local = address.is_none_or(|address| address.to_canonical().is_loopback());
    assert!(is_local || config.listen.tls.is_some());
    let api = SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into();
    let front = FrontEnd::new(Path::new("/a.pem"), Path::new("/a.key"), api);
    if let Ok(printed) = proxy_config(&config, &front) {
        let is_plain = |char: char| char == '\n' || char == '\t' || matches!(char, ' '..='~');
        assert!(printed.chars().all(is_plain), "{printed}");
    }
    let _ = proxy_script(&config, &front);
    None
}
