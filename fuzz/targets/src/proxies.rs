use crate::check::{CANARY, assert_no_canary, assert_safe};
use keybound_transport::ProxyConfig;
use keybound_transport::fuzz::{self, proxy_for};

/// Three lines: `HTTPS_PROXY`, `NO_PROXY`, and a host to go to.
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
        ProxyConfig::from_values(Some(proxy), Some(exempt)).expect("taken before")
    };
    assert_way(&config, host, exempt, ',', |exempt| with(proxy, exempt));
    if let Some(Some(way)) = proxy_for(&config, host, 443) {
        assert_eq!(
            proxy_for(&with(&printed(&way), ""), host, 443),
            Some(Some(way))
        );
    }
}

/// Three lines: proxies and exceptions as Windows has them, and a host to go to.
pub fn system_proxy(data: &[u8]) {
    let Some([proxies, exempt, host]) = lines(data) else {
        return;
    };
    let config = ProxyConfig::from_windows_settings(proxies, exempt);
    assert_way(&config, host, exempt, ';', |exempt| {
        ProxyConfig::from_windows_settings(proxies, exempt)
    });
    if let Some(Some(way)) = proxy_for(&config, host, 443) {
        let list = format!("http=other:1;https={}", printed(&way));
        assert_eq!(proxy_for(&ProxyConfig::from_windows_settings(&list, ""), host, 443), Some(Some(way)));
    }
}

/// What holds for every way to a host, `with` other exceptions too.
fn assert_way(
    config: &ProxyConfig,
    host: &str,
    exempt: &str,
    separator: char,
    with: impl Fn(&str) -> ProxyConfig,
) {
    for local in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(proxy_for(config, local, 443), Some(None));
    }
    let way = proxy_for(config, host, 443);
    assert_eq!(way, proxy_for(config, &host.to_ascii_uppercase(), 443));
    if let Some(Some((name, _))) = &way {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        // Exceptions only make exceptions.
        assert_eq!(proxy_for(&with(""), host, 443), way);
    }
    if way.is_some() {
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

/// A proxy as it is written; the brackets of addresses are left out where it is shown.
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

/// A proxy's answer to CONNECT: what it says does not change with what comes later, but for how much that is.
pub fn proxy_answer(data: &[u8]) {
    let whole = fuzz::connect_response(data);
    let without_rest = |text: &str| text.split(',').next().map(str::to_owned);
    for length in [1, 7, 12, 40, data.len() / 2] {
        let part = fuzz::connect_response(&data[..length.min(data.len())]);
        if part != "Incomplete" {
            assert_eq!(
                without_rest(&part),
                without_rest(&whole),
                "after {length} bytes"
            );
        }
    }
}
