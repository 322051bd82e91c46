use crate::target::{Host, Target, parse_port, split_port};
use crate::{TransportError, TransportErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_core::SecretString;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use url::Url;

/// The way through HTTP proxies (CONNECT). Read from values, so that whoever owns the environment decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    proxy: Option<Arc<Proxy>>,
    bypass: Vec<Bypass>,
}

impl ProxyConfig {
    /// No proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the values of `HTTPS_PROXY` (or `https_proxy`, `ALL_PROXY`) and `NO_PROXY`. Loopback hosts never go
    /// through a proxy.
    ///
    /// The proxy is `[http://][user:password@]host[:port]`, port 80 by default; a blank value is none. `NO_PROXY` is a
    /// list, separated by commas or blanks, of `*`, names (which stand for all names below them too, with or without a
    /// leading dot), addresses and networks (`10.0.0.0/8`), each perhaps with a port; what is none of these matches
    /// nothing.
    ///
    /// # Errors
    /// [`InvalidRequest`](TransportErrorKind::InvalidRequest) says what is wrong with a proxy URL, without its
    /// credentials.
    pub fn from_values(
        https_proxy: Option<&str>,
        no_proxy: Option<&str>,
    ) -> Result<Self, TransportError> {
        let proxy = match https_proxy.map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(Arc::new(Proxy::parse(text)?)),
        };
        let bypass = no_proxy
            .unwrap_or_default()
            .split([',', ' ', '\t'])
            .filter_map(Bypass::parse)
            .collect();
        Ok(Self { proxy, bypass })
    }

    /// The proxy for a target, where there is one.
    pub(crate) fn for_target(&self, target: &Target) -> Option<&Arc<Proxy>> {
        let proxy = self.proxy.as_ref()?;
        let direct =
            target.host.is_loopback() || self.bypass.iter().any(|entry| entry.matches(target));
        (!direct).then_some(proxy)
    }
}

/// An HTTP proxy.
#[derive(PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<SecretString>,
}

impl Proxy {
    fn parse(text: &str) -> Result<Self, TransportError> {
        let wrong = |what| TransportError::new(TransportErrorKind::InvalidRequest, what);
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        // The parser's own words could hold parts of the text.
        let url = Url::parse(&with_scheme).map_err(|_| wrong("the proxy is not a URL"))?;
        if url.scheme() != "http" {
            return Err(wrong("only proxies with an http URL are supported"));
        }
        let host = match url.host() {
            None => return Err(wrong("the URL of the proxy names no host")),
            Some(url::Host::Ipv6(ip)) => ip.to_string(),
            Some(host) => host.to_string(),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(wrong("the URL of the proxy has a path"));
        }
        Ok(Self {
            host,
            port: url.port_or_known_default().unwrap_or(80),
            authorization: authorization(&url),
        })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// The credentials of the URL as basic authentication (RFC 7617).
fn authorization(url: &Url) -> Option<SecretString> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = "Basic ".to_owned();
    STANDARD.encode_string(&plain, &mut value);
    Some(SecretString::new(value))
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bypass {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name and all below it.
    Name(String),
    Network(IpAddr, u8),
}

impl Bypass {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim();
        if entry == "*" {
            return Some(Self {
                hosts: Hosts::All,
                port: None,
            });
        }
        if let Some(network) = network(entry) {
            return Some(Self {
                hosts: network,
                port: None,
            });
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

    fn matches(&self, target: &Target) -> bool {
        self.port.is_none_or(|port| port == target.port)
            && match (&self.hosts, &target.host) {
                (Hosts::All, _) => true,
                (Hosts::Name(name), Host::Name(host)) => host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
                (Hosts::Network(network, bits), Host::Ip(ip)) => contains(*network, *bits, *ip),
                _ => false,
            }
    }
}

/// An address, perhaps in brackets, or a network in the notation of RFC 4632.
fn network(text: &str) -> Option<Hosts> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(address);
    let ip: IpAddr = address.parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16) -> Target {
        let host = match host.parse() {
            Ok(ip) => Host::Ip(ip),
            Err(_) => Host::Name(host.into()),
        };
        Target { host, port }
    }

    fn goes_direct(no_proxy: &str, host: &str) -> bool {
        ProxyConfig::from_values(Some("proxy:3128"), Some(no_proxy))
            .unwrap()
            .for_target(&target(host, 443))
            .is_none()
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_and_networks() {
        for (entry, host, direct) in [
            ("", "a.example", false),
            ("*", "a.example", true),
            ("example", "a.example", true),
            (".example", "a.example", true),
            ("*.example", "a.example", true),
            ("a.example", "a.example", true),
            ("A.Example.", "a.example", true),
            ("ample", "a.example", false),
            ("x, a.example:443 ,y", "a.example", true),
            ("a.example:444", "a.example", false),
            ("a.example:99999", "a.example", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:443", "10.1.2.3", true),
            ("fd00::/8", "fd01::1", true),
            ("fd00::/8", "fe01::1", false),
            ("[fd01::1]:443", "fd01::1", true),
            ("::/0", "10.0.0.1", false),
        ] {
            assert_eq!(goes_direct(entry, host), direct, "{entry} {host}");
        }
    }

    #[test]
    fn loopback_never_goes_through_a_proxy() {
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert!(goes_direct("", host), "{host}");
        }
    }

    #[test]
    fn proxy_urls() {
        for (text, host, port) in [
            ("http://proxy.example:3128", "proxy.example", 3128),
            ("proxy.example:3128", "proxy.example", 3128),
            ("http://proxy.example/", "proxy.example", 80),
            ("http://[::1]:8080", "::1", 8080),
        ] {
            let config = ProxyConfig::from_values(Some(text), None).unwrap();
            let proxy = config.for_target(&target("a.b", 443)).unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
            assert!(proxy.authorization.is_none());
        }
        for none in [None, Some(""), Some("  ")] {
            let config = ProxyConfig::from_values(none, None).unwrap();
            assert!(config.for_target(&target("a.b", 443)).is_none());
        }
    }

    #[test]
    fn secrets_stay_secret_in_proxies() {
        let config =
            ProxyConfig::from_values(Some("http://user:sword%40fish@proxy:1"), None).unwrap();
        let proxy = config.for_target(&target("a.b", 443)).unwrap();
        let value = proxy.authorization.as_ref().unwrap().expose();
        assert_eq!(value, "Basic dXNlcjpzd29yZEBmaXNo");
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("sword") && !shown.contains("dXNlc"),
            "{shown}"
        );
        for broken in [
            "http://user:swordfish@proxy:99999",
            "https://user:swordfish@proxy",
            "socks5://user:swordfish@proxy",
            "http://user:swordfish@",
            "http://user:swordfish@proxy/path",
        ] {
            let error = ProxyConfig::from_values(Some(broken), None).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::InvalidRequest);
            assert!(!format!("{error:?} {error}").contains("swordfish"));
        }
    }
}
