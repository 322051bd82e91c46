use super::settings::Settings;
use super::*;
use keybound_core::tls::Host;

fn origin(host: &str, port: u16) -> Origin {
    let host = match host.parse() {
        Ok(ip) => Host::Ip(ip),
        Err(_) => Host::Name(host.into()),
    };
    Origin { host, port }
}

fn is_direct(no_proxy: &str, host: &str) -> bool {
    ProxyConfig::from_values(Some("proxy:3128"), Some(no_proxy))
        .unwrap()
        .for_origin(&origin(host, 443))
        .unwrap()
        .is_none()
}

#[test]
fn no_proxy_matches_hosts_domains_addresses_and_networks() {
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
        assert_eq!(is_direct(entry, host), direct, "{entry} {host}");
    }
}

#[test]
fn connects_to_loopback_directly() {
    for host in ["localhost", "127.0.0.1", "::1"] {
        assert!(is_direct("", host), "{host}");
    }
}

#[test]
fn tells_whether_a_url_uses_the_proxy_and_is_an_exception() {
    let no_proxy = "169.254.169.254,exempt.example";
    let proxy = ProxyConfig::from_values(Some("proxy:3128"), Some(no_proxy)).unwrap();
    for (url, used, exception) in [
        ("https://a.example", true, false),
        ("https://exempt.example:8443/x", false, true),
        ("http://169.254.169.254/metadata", false, true),
        ("http://127.0.0.1:1", false, false),
    ] {
        let url = Url::parse(url).unwrap();
        assert_eq!(proxy.is_used_for(&url).unwrap(), used, "{url}");
        assert_eq!(proxy.lists_exception(&url), exception, "{url}");
    }
    let url = Url::parse("https://a.example").unwrap();
    let malformed = ProxyConfig::from_environment(Some("https://swordfish"), None);
    let error = malformed.is_used_for(&url).unwrap_err();
    assert_eq!(error.kind(), keybound_core::ErrorKind::InvalidRequest);
    let none = ProxyConfig::none();
    assert!(!none.is_used_for(&url).unwrap() && !none.lists_exception(&url));
    assert_eq!(none.skipped_settings(), None);
}

fn system(system: SystemProxy) -> ProxyConfig {
    ProxyConfig::of(ProxyChoice::System(system))
}

/// A configuration that panics when the system's settings are read.
fn unreadable() -> ProxyConfig {
    system(SystemProxy::new(|source| panic!("{source} are read")))
}

/// System settings that name a script only.
fn with_script() -> ProxyConfig {
    system(SystemProxy::new(|_| {
        Ok(Settings {
            has_script: true,
            ..Settings::default()
        })
    }))
}

#[test]
fn skips_system_settings_for_exempt_hosts() {
    for host in ["localhost", "127.0.0.1", "::1"] {
        assert!(
            unreadable()
                .for_origin(&origin(host, 443))
                .unwrap()
                .is_none()
        );
    }
    for no_proxy in ["*", "x,a.example:443"] {
        let config = unreadable().with_no_proxy(no_proxy);
        assert!(
            config
                .for_origin(&origin("a.example", 443))
                .unwrap()
                .is_none()
        );
    }
}

#[test]
fn connects_to_loopback_without_the_system_proxy() {
    let config = ProxyConfig::from_windows_settings("proxy:1", "<-loopback>");
    assert!(
        config
            .for_origin(&origin("a.example", 443))
            .unwrap()
            .is_some()
    );
    for host in ["localhost", "127.0.0.1", "::1"] {
        assert!(
            config.for_origin(&origin(host, 443)).unwrap().is_none(),
            "{host}"
        );
    }
}

#[test]
fn system_configurations_are_equal() {
    let (one, other) = (ProxyConfig::from_windows_settings("", ""), with_script());
    assert!(one.for_origin(&origin("a.example", 443)).unwrap().is_none());
    assert_eq!(one, other);
    assert_ne!(one, other.clone().with_no_proxy("a.example"));
    assert_ne!(one, ProxyConfig::none());
    let is_unsupported = cfg!(not(windows));
    assert_eq!(ProxyConfig::system() == ProxyConfig::none(), is_unsupported);
}

#[test]
fn errors_of_direct_connections_name_skipped_settings() {
    let error_of = |config: &ProxyConfig, host, kind| {
        let error = TransportError::new(kind, "no connection");
        config.explain(&origin(host, 443), error).to_string()
    };
    let remote = "a.example";
    for kind in [TransportErrorKind::Connect, TransportErrorKind::Timeout] {
        assert_eq!(
            error_of(&with_script(), remote, kind),
            "a.example:443 was tried without a proxy: the user's proxy settings name a script, which is not \
             followed; the machine's proxy settings name a script, which is not followed"
        );
        for (config, host) in [
            (with_script(), "localhost"),
            (with_script().with_no_proxy(remote), remote),
            (ProxyConfig::from_windows_settings("p:1", remote), remote),
            (ProxyConfig::none(), remote),
        ] {
            assert_eq!(error_of(&config, host, kind), "no connection");
        }
    }
    let other = TransportErrorKind::ServerCertificate;
    assert_eq!(error_of(&with_script(), remote, other), "no connection");
}

#[test]
fn parses_proxy_urls() {
    for (text, host, port) in [
        ("http://proxy.example:3128", "proxy.example", 3128),
        ("proxy.example:3128", "proxy.example", 3128),
        ("http://proxy.example/", "proxy.example", 80),
        ("http://[::1]:8080", "::1", 8080),
    ] {
        let config = ProxyConfig::from_values(Some(text), None).unwrap();
        let proxy = config.for_origin(&origin("a.b", 443)).unwrap().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
        assert!(proxy.authorization.is_none());
    }
    for none in [None, Some(""), Some("  ")] {
        let config = ProxyConfig::from_values(none, None).unwrap();
        assert!(config.for_origin(&origin("a.b", 443)).unwrap().is_none());
    }
}

#[test]
fn names_unescaped_characters_in_credentials() {
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
fn messages_name_host_and_port_of_a_proxy() {
    for (text, name) in [
        ("http://[::1]:8080", "the proxy [::1]:8080"),
        ("http://127.0.0.1", "the proxy 127.0.0.1:80"),
        ("http://user:swordfish@proxy:1", "the proxy proxy:1"),
    ] {
        let config = ProxyConfig::from_values(Some(text), None).unwrap();
        let proxy = config.for_origin(&origin("a.b", 443)).unwrap().unwrap();
        assert_eq!(proxy.name(), name);
    }
}

#[test]
fn secrets_stay_secret_in_proxies() {
    let config = ProxyConfig::from_values(Some("http://user:sword%40fish@proxy:1"), None).unwrap();
    let proxy = config.for_origin(&origin("a.b", 443)).unwrap().unwrap();
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
        // Unescaped characters that end the credentials (psf/requests#2846).
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
            assert_redacted(&format!("{error:?} {error}"), broken);
            let config = ProxyConfig::from_environment(Some(broken), no_proxy);
            let error = config.for_origin(&origin("a.b", 443)).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::InvalidRequest);
            assert_redacted(&format!("{config:?} {error:?} {error}"), broken);
        }
    }
}

fn assert_redacted(shown: &str, text: &str) {
    for secret in ["fish", "4711"] {
        assert!(!shown.contains(secret), "{text:?} {shown}");
    }
}

#[test]
fn decodes_credentials() {
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
        let proxy = config.for_origin(&origin("a.b", 443)).unwrap().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 1), "{text}");
        let value = proxy.authorization.as_ref().unwrap().expose();
        assert_eq!(
            value,
            format!("Basic {}", openssl::base64::encode_block(plain.as_bytes()))
        );
    }
}

#[test]
fn malformed_environment_proxy_fails_only_requests_through_it() {
    for malformed in ["socks5://p:1", "http://p:1/#", "::", "http://"] {
        let config = ProxyConfig::from_environment(Some(malformed), Some("a.example,10.0.0.0/8"));
        for host in [
            "a.example",
            "x.a.example",
            "10.1.2.3",
            "localhost",
            "127.0.0.1",
            "::1",
        ] {
            assert!(
                config.for_origin(&origin(host, 443)).unwrap().is_none(),
                "{host}"
            );
        }
        let error = config.for_origin(&origin("b.example", 443)).unwrap_err();
        let message = error.to_string();
        let expected = "the proxy that the environment names for b.example:443 is malformed: ";
        assert!(message.starts_with(expected), "{message}");
    }
    let config = ProxyConfig::from_environment(Some("::"), Some("*"));
    assert!(
        config
            .for_origin(&origin("b.example", 443))
            .unwrap()
            .is_none()
    );
    let valid = ProxyConfig::from_environment(Some("p:1"), Some("x"));
    assert_eq!(
        valid,
        ProxyConfig::from_values(Some("p:1"), Some("x")).unwrap()
    );
}
