//! Proxies, and what they do to requests to IMDS.
use crate::diagnosis::Finding;
use keybound::Result;
use keybound::tls::ProxyConfig;
use url::Url;

/// Judges the proxy settings. `set` are the names of the variables that are set, `imds` is the address of IMDS if it is the source,
/// `proxied` whether the token endpoint is reached through a proxy.
pub(super) fn judge(
    proxy: &ProxyConfig,
    set: &[&'static str],
    imds: Option<&Url>,
    proxied: Result<bool>,
) -> Finding {
    let proxied = match proxied {
        Ok(proxied) => proxied,
        Err(error) => {
            let finding = Finding::failed("the proxy setting is malformed", error);
            return finding.with_next_step("correct it: [http://][user:password@]host[:port]");
        }
    };
    if let Some(variable) = swallows_imds(proxy, set, imds) {
        return Finding::warning(
            format!(
                "Keybound reaches IMDS directly, but {variable} sends the requests of other programs to IMDS through a proxy"
            ),
            "add the address of IMDS (169.254.169.254) to NO_PROXY",
        );
    }
    if let Some(skipped) = proxy.skipped_settings() {
        return Finding::warning(
            format!("connections are direct: {skipped}"),
            "name the proxy in HTTPS_PROXY, if one is needed",
        );
    }
    Finding::ok(match (proxied, first(set, &HTTPS)) {
        (true, Some(variable)) => {
            format!("{variable} applies to the token endpoint, and not to IMDS")
        }
        (true, None) => {
            "the proxy of the system applies to the token endpoint, and not to IMDS".into()
        }
        (false, Some(variable)) => format!("{variable} is set; no connection here uses it"),
        (false, None) => "none".into(),
    })
}

/// The variable by which other programs send requests to IMDS, which are plain HTTP, to a proxy.
fn swallows_imds(
    proxy: &ProxyConfig,
    set: &[&'static str],
    imds: Option<&Url>,
) -> Option<&'static str> {
    let variable = first(set, &HTTP)?;
    (!proxy.lists_exception(imds?)).then_some(variable)
}

fn first(set: &[&'static str], names: &[&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| set.contains(name))
}

/// The variables that other programs read for plain HTTP.
const HTTP: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that Keybound reads, in their order.
const HTTPS: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
