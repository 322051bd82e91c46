mod bypass;
mod server;

pub(crate) use server::Proxy;

use crate::TransportError;
use crate::target::Target;
use bypass::Bypass;
use std::sync::Arc;

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
    /// [`InvalidRequest`](crate::TransportErrorKind::InvalidRequest) says what is wrong with a proxy URL, without its
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportErrorKind;
    use crate::target::Host;

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
