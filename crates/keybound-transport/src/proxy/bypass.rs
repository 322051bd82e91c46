use super::winhttp_lists::matches_pattern;
use crate::origin::{Origin, parse_port, split_port};
use keybound_core::tls::Host;
use std::net::IpAddr;

/// Hosts that are reached without the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bypass {
    pub(super) hosts: Hosts,
    pub(super) port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    All,
    /// A name and its subdomains.
    Name(String),
    Network(IpAddr, u8),
    /// Names without a dot.
    Local,
    /// Names and addresses; `*` matches any characters.
    Pattern(String),
}

impl Bypass {
    /// These hosts, at any port.
    pub(super) fn new(hosts: Hosts) -> Self {
        Self { hosts, port: None }
    }

    /// Parses an entry of `NO_PROXY`.
    pub(super) fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim();
        if entry == "*" {
            return Some(Self::new(Hosts::All));
        }
        if let Some(network) = network(entry) {
            return Some(Self::new(network));
        }
        let (host, port) = split_port(entry);
        let port = match port {
            Some(port) => Some(parse_port(port)?),
            None => None,
        };
        let hosts = network(host).or_else(|| {
            let name = host.trim_start_matches("*.").trim_matches('.');
            (!name.is_empty()).then(|| Hosts::Name(name.to_ascii_lowercase()))
        })?;
        Some(Self { hosts, port })
    }

    pub(super) fn matches(&self, origin: &Origin) -> bool {
        self.port.is_none_or(|port| port == origin.port)
            && match (&self.hosts, &origin.host) {
                (Hosts::All, _) => true,
                (Hosts::Name(name), Host::Name(host)) => host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
                (Hosts::Network(network, bits), Host::Ip(ip)) => contains(*network, *bits, *ip),
                (Hosts::Local, Host::Name(host)) => !host.contains('.'),
                (Hosts::Pattern(pattern), Host::Name(host)) => matches_pattern(pattern, host),
                (Hosts::Pattern(pattern), Host::Ip(ip)) => {
                    matches_pattern(pattern, &ip.to_string())
                }
                _ => false,
            }
    }
}

/// Parses an address, with or without brackets, or a network in CIDR notation (RFC 4632).
pub(super) fn network(text: &str) -> Option<Hosts> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(address);
    let ip: IpAddr = address.parse().ok()?;
    let max = if ip.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => max,
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= max)?,
    };
    Some(Hosts::Network(ip, bits))
}

fn contains(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    };
    let mask = u128::MAX
        .checked_shl(128 - u32::from(bits))
        .unwrap_or_default();
    network.is_ipv4() == ip.is_ipv4() && (number(network) ^ number(ip)) & mask == 0
}
