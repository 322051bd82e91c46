use crate::check::{CANARY, assert_no_canary, assert_safe};
use keybound_transport::ProxyConfig;
use keybound_transport::fuzz::{self, proxy_for};

/// Three lines: `HTTPS_PROXY`, `NO_PROXY`, and the target host.
pub fn environment_proxy(data: &[u8]) {
    let Some([proxy, exempt, host]) = lines(data) else {
        return;
    };
    let config = match ProxyConfig::from_values(Some(proxy), Some(exempt)) {
        Ok(config) => config,
        Err(error) => {
            assert_safe(&error.to_string());
            return assert_no_canary(&format!("{error:?}"));
        }
    };
    let with = |proxy: &str, exempt: &str| {
        ProxyConfig::from_values(Some(proxy), Some(exempt)).expect("accepted before")
    };
    assert_route(&config, host, exempt, ',', |exempt| with(proxy, exempt));
    if let Some(Some(route)) = proxy_for(&config, host, 443) {
        assert_eq!(
            proxy_for(&with(&printed(&route), ""), host, 443),
            Some(Some(route))
        );
    }
}

/// Three lines: proxies and exceptions in the format of Windows, and the target host.
pub fn system_proxy(data: &[u8]) {
    let Some([proxies, exempt, host]) = lines(data) else {
        return;
    };
    let config = ProxyConfig::from_windows_settings(proxies, exempt);
    assert_route(&config, host, exempt, ';', |exempt| {
        ProxyConfig::from_windows_settings(proxies, exempt)
    });
    if let Some(Some(route)) = proxy_for(&config, host, 443) {
        let list = format!("http=other:1;https={}", printed(&route));
        assert_eq!(
            proxy_for(&ProxyConfig::from_windows_settings(&list, ""), host, 443),
            Some(Some(route))
        );
    }
}

/// Checks the route to a host, also `with` other exceptions.
fn assert_route(
    config: &ProxyConfig,
    host: &str,
    exempt: &str,
    separator: char,
    with: impl Fn(&str) -> ProxyConfig,
) {
    for local in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(proxy_for(config, local, 443), Some(None));
    }
    let route = proxy_for(config, host, 443);
    assert_eq!(route, proxy_for(config, &host.to_ascii_uppercase(), 443));
    if let Some(Some((name, _))) = &route {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        // Exceptions do not change the proxy.
        assert_eq!(proxy_for(&with(""), host, 443), route);
    }
    if route.is_some() {
        for exception in ["*", host] {
            let more = with(&format!("{exempt}{separator}{exception}"));
            assert_eq!(proxy_for(&more, host, 443), Some(None), "{exception}");
        }
    }
    // Neither the name of a proxy nor an exception is a secret.
    let named = proxy_for(&with(""), "a.example", 443).flatten();
    let names = format!("{named:?}{}", exempt.to_ascii_lowercase());
    if !names.contains(CANARY) {
        assert_no_canary(&format!("{config:?}"));
    }
}

/// The proxy in the format of a setting, with brackets around IPv6 addresses.
fn printed((host, port): &(String, u16)) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn lines(data: &[u8]) -> Option<[&str; 3]> {
    let mut lines = std::str::from_utf8(data).ok()?.splitn(3, '\n');
    Some([lines.next()?, lines.next()?, lines.next()?])
}

/// A proxy's response to CONNECT: its meaning does not change with later bytes, except their number.
pub fn proxy_response(data: &[u8]) {
    let complete = fuzz::connect_response(data);
    let without_length = |text: &str| text.split(',').next().map(str::to_owned);
    for length in [1, 7, 12, 40, data.len() / 2] {
        let part = fuzz::connect_response(&data[..length.min(data.len())]);
        if part != "Incomplete" {
            assert_eq!(
                without_length(&part),
                without_length(&complete),
                "after {length} bytes"
            );
        }
    }
}
