//! Proxies, and what they do to requests to IMDS.
use crate::diagnosis::Finding;
use keybound::Result;
use keybound::tls::ProxyConfig;
use url::Url;

/// The address of the source of tokens.
pub(super) struct SourceAddress {
    /// The name of the source.
    pub(super) name: String,
    pub(super) url: Url,
    /// Its host, or the name of the variable that contains it.
    pub(super) shown: String,
}

/// Judges the proxy settings. `set` are the names of the variables that are set, `source` is the source of tokens, if its address is
/// known, `proxied` whether the token endpoint is reached through a proxy.
pub(super) fn judge(
    proxy: &ProxyConfig,
    set: &[&'static str],
    source: Option<&SourceAddress>,
    proxied: Result<bool>,
) -> Finding {
    let proxied = match proxied {
        Ok(proxied) => proxied,
        Err(error) => {
            let finding = Finding::failed("the proxy setting cannot be used", error);
            return finding.with_next_step(
                "correct it: [http://][user:password@]host[:port]; proxies with https or socks5 are not supported",
            );
        }
    };
    if let Some((variable, source)) = swallows(proxy, set, source) {
        let (name, host) = (&source.name, &source.shown);
        return Finding::warning(
            format!(
                "Keybound reaches {name} directly, but {variable} sends the requests of other programs to {name} through a proxy"
            ),
            format!("add the address of {name} ({host}) to NO_PROXY"),
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
            format!("{variable} applies to the token endpoint only")
        }
        (true, None) => "the proxy of the system applies to the token endpoint only".into(),
        (false, Some(variable)) => format!("{variable} is set; no connection here uses it"),
        (false, None) => "none".into(),
    })
}

/// The variable by which other programs send requests to the source to a proxy, if these are plain HTTP.
fn swallows<'a>(
    proxy: &ProxyConfig,
    set: &[&'static str],
    source: Option<&'a SourceAddress>,
) -> Option<(&'static str, &'a SourceAddress)> {
    let source = source.filter(|source| source.url.scheme() == "http")?;
    let variable = first(set, &HTTP)?;
    (!proxy.lists_exception(&source.url)).then_some((variable, source))
}

fn first(set: &[&'static str], names: &[&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| set.contains(name))
}

/// The variables that other programs read for plain HTTP.
const HTTP: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that Keybound reads, in their order.
const HTTPS: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
