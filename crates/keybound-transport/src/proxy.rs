mod bypass;
#[cfg(not(windows))]
mod elsewhere;
mod server;
mod settings;
mod system;
#[cfg(windows)]
#[allow(unsafe_code, reason = "the functions of Windows are unsafe")]
mod windows;
mod winhttp;

pub(crate) use server::Proxy;

use crate::target::Target;
use crate::{TransportError, TransportErrorKind};
use bypass::Bypass;
#[cfg(not(windows))]
use elsewhere as platform;
use std::sync::Arc;
use system::System;
#[cfg(windows)]
use windows as platform;

/// Which HTTP proxy (CONNECT) a connection uses, from values that the caller passes or from the system's settings. Loopback hosts never go through a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    choice: ProxyChoice,
    bypass: Vec<Bypass>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ProxyChoice {
    #[default]
    Direct,
    Proxy(Arc<Proxy>),
    /// The environment names one that cannot be read: why.
    Malformed(Arc<str>),
    System(System),
}

impl ProxyConfig {
    /// No proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// The system's settings: on Windows the user's (Settings, Network & internet, Proxy) and, where these name no
    /// proxy, the machine's (`netsh winhttp`); elsewhere there are none. They are read once, when a connection to a host
    /// other than loopback first needs them; what was changed later is seen by configurations made later. Any two such
    /// configurations are equal.
    ///
    /// A proxy is for all protocols or for https, an HTTP proxy without TLS on the way to it. Exceptions may hold `*`,
    /// ports, `<local>` and networks. A script (PAC), automatic detection, other kinds of proxies, and settings that
    /// cannot be read are left aside: the machine's settings serve instead, then the direct way. A warning (target
    /// `keybound_transport`) names what was left aside; detection, which Windows comes with switched on, is logged at level debug
    /// only. The error of a direct connection that then fails names it too.
    pub fn system() -> Self {
        // Where there are none, the same as no proxy.
        if cfg!(windows) {
            Self::of(System::new(platform::read))
        } else {
            Self::none()
        }
    }

    /// As [`system`](Self::system), from the list of proxies and the list of exceptions in the form in which Windows
    /// stores them for a user, on any platform.
    pub fn from_windows_settings(proxies: &str, bypass: &str) -> Self {
        let [proxies, bypass] =
            [proxies, bypass].map(|list| list.encode_utf16().collect::<Vec<_>>());
        Self::of(System::of_texts(&proxies, &bypass))
    }

    fn of(system: System) -> Self {
        Self {
            choice: ProxyChoice::System(system),
            bypass: vec![],
        }
    }

    /// Reads the values of `HTTPS_PROXY` (or `https_proxy`, `ALL_PROXY`) and `NO_PROXY`.
    ///
    /// The proxy is `[http://][user:password@]host[:port]`, port 80 by default; a blank value is none. `NO_PROXY` is a
    /// list, separated by commas or blanks, of `*`, names (which stand for all names below them too, with or without a
    /// leading dot), addresses and networks (`10.0.0.0/8`), each perhaps with a port; what is none of these matches
    /// nothing.
    ///
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) names the error in a proxy URL, without its
    /// credentials.
    pub fn from_values(
        https_proxy: Option<&str>,
        no_proxy: Option<&str>,
    ) -> Result<Self, keybound_core::Error> {
        let choice = match https_proxy.map(str::trim) {
            None | Some("") => ProxyChoice::Direct,
            Some(text) => ProxyChoice::Proxy(Arc::new(Proxy::parse(text)?)),
        };
        let config = Self {
            choice,
            bypass: vec![],
        };
        Ok(config.with_no_proxy(no_proxy.unwrap_or_default()))
    }

    /// As [`from_values`](Self::from_values), for values that somebody else has set for many programs: a proxy URL that is
    /// malformed fails what would go through that proxy, and nothing else.
    pub fn from_environment(https_proxy: Option<&str>, no_proxy: Option<&str>) -> Self {
        Self::from_values(https_proxy, no_proxy).unwrap_or_else(|error| {
            let config = Self {
                choice: ProxyChoice::Malformed(error.to_string().into()),
                bypass: vec![],
            };
            config.with_no_proxy(no_proxy.unwrap_or_default())
        })
    }

    /// Adds the hosts in a list as `NO_PROXY` has it (see [`from_values`](Self::from_values)) to those that are reached
    /// without a proxy; `*` is all.
    #[must_use]
    pub fn with_no_proxy(mut self, no_proxy: &str) -> Self {
        let entries = no_proxy.split([',', ' ', '\t']);
        self.bypass.extend(entries.filter_map(Bypass::parse));
        self
    }

    /// The proxy for a target, where there is one. The first question may read the system's settings.
    ///
    /// # Errors
    /// [`InvalidRequest`](TransportErrorKind::InvalidRequest) where the environment names one that is malformed.
    pub(crate) fn for_target(
        &self,
        target: &Target,
    ) -> Result<Option<&Arc<Proxy>>, TransportError> {
        if self.is_exempt(target) {
            return Ok(None);
        }
        match &self.choice {
            ProxyChoice::Direct => Ok(None),
            ProxyChoice::Proxy(proxy) => Ok(Some(proxy)),
            ProxyChoice::Malformed(why) => Err(TransportError::new(
                TransportErrorKind::InvalidRequest,
                format!(
                    "the proxy that the environment names for {} is malformed: {why}",
                    target.name()
                ),
            )),
            ProxyChoice::System(system) => Ok(system.for_target(target)),
        }
    }

    /// Names the system's settings that were not used, where a connection without a proxy failed.
    pub(crate) fn explain(&self, target: &Target, error: TransportError) -> TransportError {
        let may_be_the_proxy = matches!(
            error.kind(),
            TransportErrorKind::Connect | TransportErrorKind::Timeout
        );
        match &self.choice {
            ProxyChoice::System(system) if may_be_the_proxy && !self.is_exempt(target) => {
                match system.left_aside() {
                    Some(notes) => TransportError::new(
                        error.kind(),
                        format!("{} was tried without a proxy: {notes}", target.name()),
                    )
                    .with_source(error),
                    None => error,
                }
            }
            _ => error,
        }
    }

    fn is_exempt(&self, target: &Target) -> bool {
        target.host.is_loopback() || self.bypass.iter().any(|entry| entry.matches(target))
    }
}

#[cfg(test)]
mod tests {
    use super::settings::Settings;
    use super::*;
    use keybound_core::tls::Host;

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
            .unwrap()
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

    /// The system's settings, which must not be read.
    fn untouched() -> ProxyConfig {
        ProxyConfig::of(System::new(|place| panic!("{place} are read")))
    }

    /// A system whose settings name a script only.
    fn scripted() -> ProxyConfig {
        ProxyConfig::of(System::new(|_| {
            Ok(Settings {
                names_script: true,
                ..Settings::default()
            })
        }))
    }

    #[test]
    fn the_systems_settings_are_not_read_for_hosts_that_need_no_proxy() {
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert!(
                untouched()
                    .for_target(&target(host, 443))
                    .unwrap()
                    .is_none()
            );
        }
        for no_proxy in ["*", "x,a.example:443"] {
            let config = untouched().with_no_proxy(no_proxy);
            assert!(
                config
                    .for_target(&target("a.example", 443))
                    .unwrap()
                    .is_none()
            );
        }
    }

    #[test]
    fn loopback_never_goes_through_the_systems_proxy() {
        let config = ProxyConfig::from_windows_settings("proxy:1", "<-loopback>");
        assert!(
            config
                .for_target(&target("a.example", 443))
                .unwrap()
                .is_some()
        );
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert!(
                config.for_target(&target(host, 443)).unwrap().is_none(),
                "{host}"
            );
        }
    }

    #[test]
    fn configurations_of_the_system_are_equal_whenever_they_were_made() {
        let (one, other) = (ProxyConfig::from_windows_settings("", ""), scripted());
        assert!(one.for_target(&target("a.example", 443)).unwrap().is_none());
        assert_eq!(one, other);
        assert_ne!(one, other.clone().with_no_proxy("a.example"));
        assert_ne!(one, ProxyConfig::none());
        let elsewhere = cfg!(not(windows));
        assert_eq!(ProxyConfig::system() == ProxyConfig::none(), elsewhere);
    }

    #[test]
    fn failures_of_the_direct_way_name_the_settings_that_were_left_aside() {
        let error_of = |config: &ProxyConfig, host, kind| {
            let error = TransportError::new(kind, "no connection");
            config.explain(&target(host, 443), error).to_string()
        };
        let far = "a.example";
        for kind in [TransportErrorKind::Connect, TransportErrorKind::Timeout] {
            assert_eq!(
                error_of(&scripted(), far, kind),
                "a.example:443 was tried without a proxy: the user's proxy settings name a script, which is not \
                 followed; the machine's proxy settings name a script, which is not followed"
            );
            for (config, host) in [
                (scripted(), "localhost"),
                (scripted().with_no_proxy(far), far),
                (ProxyConfig::from_windows_settings("p:1", far), far),
                (ProxyConfig::none(), far),
            ] {
                assert_eq!(error_of(&config, host, kind), "no connection");
            }
        }
        let other = TransportErrorKind::ServerCertificate;
        assert_eq!(error_of(&scripted(), far, other), "no connection");
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
            let proxy = config.for_target(&target("a.b", 443)).unwrap().unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
            assert!(proxy.authorization.is_none());
        }
        for none in [None, Some(""), Some("  ")] {
            let config = ProxyConfig::from_values(none, None).unwrap();
            assert!(config.for_target(&target("a.b", 443)).unwrap().is_none());
        }
    }

    #[test]
    fn what_ends_credentials_too_early_is_named() {
        for text in [
            "http://svc:4711#x@proxy:1",
            "http://svc:pass?x@proxy:1",
            "http://svc:pass/x@proxy:1",
            "http://svc:pass\\x@proxy:1",
            "svc:pass#@proxy:1",
            "http://user#1:pass@proxy:1",
            "http://proxy:1/#frag",
        ] {
            let error = ProxyConfig::from_values(Some(text), None).unwrap_err();
            assert!(error.to_string().contains("# as %23"), "{text} {error}");
        }
        for text in [
            "http://proxy:99999",
            "http://svc:pass@proxy:99999",
            "http://",
        ] {
            let error = ProxyConfig::from_values(Some(text), None).unwrap_err();
            assert_eq!(error.to_string(), "the proxy is not a URL", "{text}");
        }
    }

    #[test]
    fn messages_name_a_proxy_as_urls_do() {
        for (text, name) in [
            ("http://[::1]:8080", "the proxy [::1]:8080"),
            ("http://127.0.0.1", "the proxy 127.0.0.1:80"),
            ("http://user:swordfish@proxy:1", "the proxy proxy:1"),
        ] {
            let config = ProxyConfig::from_values(Some(text), None).unwrap();
            let proxy = config.for_target(&target("a.b", 443)).unwrap().unwrap();
            assert_eq!(proxy.name(), name);
        }
    }

    #[test]
    fn secrets_stay_secret_in_proxies() {
        let config =
            ProxyConfig::from_values(Some("http://user:sword%40fish@proxy:1"), None).unwrap();
        let proxy = config.for_target(&target("a.b", 443)).unwrap().unwrap();
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
            "http://user:swordfish@one%3Bother",
            // What ends the credentials where it is not escaped (psf/requests#2846).
            "http://user:4711#swordfish@proxy:1",
            "http://swordfish#1:4711@proxy:1",
            "swordfish:4711#@proxy:1",
            "http://swordfish:4711?x@proxy:1",
            "http://swordfish:4711/x@proxy:1",
            "http://swordfish:4711\\x@proxy:1",
            "swordfish:4711/@proxy:1",
            "http:/user:swordfish@proxy:1",
            "http://user:swordfish@proxy:1/#",
            "http://user:swordfish@proxy:1#",
            "http://user:swordfish@proxy:1?",
            "http://user:swordfish@proxy:1/?",
            "http://user:swordfish @proxy one",
            "http://user:sword\tfish@proxy:1",
            "http://user:sword\nfish@proxy:1",
            "http://user:sword\u{7f}fish@proxy:1",
            "http://user:swordfish%0d%0a@proxy:1",
            "http://us%3aer:swordfish@proxy:1",
            "http://user:swordfish",
            "user:swordfish@@",
            "user:a://swordfish@proxy:1",
        ] {
            for no_proxy in [None, Some("x")] {
                let error = ProxyConfig::from_values(Some(broken), no_proxy).unwrap_err();
                assert_eq!(error.kind(), keybound_core::ErrorKind::InvalidRequest);
                assert_silent(&format!("{error:?} {error}"), broken);
                let config = ProxyConfig::from_environment(Some(broken), no_proxy);
                let error = config.for_target(&target("a.b", 443)).unwrap_err();
                assert_eq!(error.kind(), TransportErrorKind::InvalidRequest);
                assert_silent(&format!("{config:?} {error:?} {error}"), broken);
            }
        }
    }

    fn assert_silent(shown: &str, text: &str) {
        for secret in ["fish", "4711"] {
            assert!(!shown.contains(secret), "{text:?} {shown}");
        }
    }

    #[test]
    fn credentials_are_those_that_were_written() {
        for (text, plain) in [
            ("http://user:a%23b%2Fc%3Fd%5Ce@proxy:1", "user:a#b/c?d\\e"),
            ("http://user:a@b@proxy:1", "user:a@b"),
            ("http://user:a%40b@proxy:1", "user:a@b"),
            ("http://user:a:b@proxy:1", "user:a:b"),
            ("http://user:a b@proxy:1", "user:a b"),
            ("http://user:100%@proxy:1", "user:100%"),
            ("user:%C3%BC@proxy:1/", "user:\u{fc}"),
            ("user@proxy:1", "user:"),
            (":key@proxy:1", ":key"),
        ] {
            let config = ProxyConfig::from_values(Some(text), None).unwrap();
            let proxy = config.for_target(&target("a.b", 443)).unwrap().unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 1), "{text}");
            let value = proxy.authorization.as_ref().unwrap().expose();
            assert_eq!(
                value,
                format!("Basic {}", openssl::base64::encode_block(plain.as_bytes()))
            );
        }
    }

    #[test]
    fn a_malformed_proxy_of_the_environment_concerns_only_what_goes_through_it() {
        for malformed in ["socks5://p:1", "http://p:1/#", "::", "http://"] {
            let config =
                ProxyConfig::from_environment(Some(malformed), Some("a.example,10.0.0.0/8"));
            for host in [
                "a.example",
                "x.a.example",
                "10.1.2.3",
                "localhost",
                "127.0.0.1",
                "::1",
            ] {
                assert!(
                    config.for_target(&target(host, 443)).unwrap().is_none(),
                    "{host}"
                );
            }
            let error = config.for_target(&target("b.example", 443)).unwrap_err();
            let words = error.to_string();
            let expected = "the proxy that the environment names for b.example:443 is malformed: ";
            assert!(words.starts_with(expected), "{words}");
        }
        let config = ProxyConfig::from_environment(Some("::"), Some("*"));
        assert!(
            config
                .for_target(&target("b.example", 443))
                .unwrap()
                .is_none()
        );
        let good = ProxyConfig::from_environment(Some("p:1"), Some("x"));
        assert_eq!(
            good,
            ProxyConfig::from_values(Some("p:1"), Some("x")).unwrap()
        );
    }
}
