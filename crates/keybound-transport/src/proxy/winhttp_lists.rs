//! Parsers of WinHTTP's lists of proxies and exceptions:
//! <https://learn.microsoft.com/windows/win32/api/winhttp/ns-winhttp-winhttp_proxy_info>.
use super::bypass::{Bypass, Hosts, network};
use super::http_proxy::HttpProxy;
use crate::origin::{parse_port, split_port};
use crate::{TransportError, TransportErrorKind};

/// The proxy for https in a list.
#[derive(Debug)]
pub(super) enum HttpsProxy {
    Proxy(HttpProxy),
    /// The list names proxies for other protocols only.
    None,
    /// The list is blank.
    NotSet,
}

/// Parses a list of `[protocol=][http://]host[:port]`, separated by semicolons or blanks. An entry for https precedes one for
/// any protocol; the first valid one is used.
pub(super) fn https_proxy(list: &str) -> Result<HttpsProxy, TransportError> {
    let mut unusable = None;
    for wanted in ["https", ANY] {
        for server in servers(list, wanted) {
            match HttpProxy::parse(server) {
                Ok(proxy) => return Ok(HttpsProxy::Proxy(proxy)),
                Err(error) => unusable = unusable.or(Some(error)),
            }
        }
    }
    // Windows uses a SOCKS proxy if there is no other.
    if unusable.is_none() && servers(list, "socks").next().is_some() {
        unusable = Some(TransportError::new(
            TransportErrorKind::InvalidRequest,
            "socks is not supported",
        ));
    }
    match unusable {
        Some(error) => Err(error),
        None if entries(list).next().is_some() => Ok(HttpsProxy::None),
        None => Ok(HttpsProxy::NotSet),
    }
}

/// Parses a list of exceptions, separated by semicolons or blanks: names, in which `*` matches any characters, addresses and
/// networks, each with an optional port; `<local>` matches every name without a dot. Other entries, and those for other
/// protocols than https, match nothing.
pub(super) fn exceptions(list: &str) -> Vec<Bypass> {
    entries(list).filter_map(exception).collect()
}

/// Whether a text matches a pattern, in which `*` matches any characters.
pub(super) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // The positions in pattern and text after the last star and the characters that it has matched so far.
    let mut star = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, read));
            }
            Some(byte) if *byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match &mut star {
                None => return false,
                Some((after, matched)) => {
                    *matched += 1;
                    (at, read) = (*after, *matched);
                }
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(|c: char| c == ';' || c.is_ascii_whitespace())
        .filter(|entry| !entry.is_empty())
}

/// The proxies of a list for a protocol.
fn servers<'a>(list: &'a str, wanted: &str) -> impl Iterator<Item = &'a str> {
    entries(list).filter_map(move |entry| {
        let (protocol, server) = match entry.split_once('=') {
            // Credentials may contain an equals sign too.
            Some((protocol, server)) if !protocol.contains([':', '@', '/']) => (protocol, server),
            _ => (ANY, entry),
        };
        let is_match = protocol.eq_ignore_ascii_case(wanted) && !server.is_empty();
        is_match.then_some(server)
    })
}

fn exception(entry: &str) -> Option<Bypass> {
    if entry.eq_ignore_ascii_case("<local>") {
        return Some(Bypass::new(Hosts::Local));
    }
    let entry = match entry.split_once("://") {
        Some((protocol, rest)) => protocol.eq_ignore_ascii_case("https").then_some(rest)?,
        None => entry,
    };
    if let Some(network) = network(entry) {
        return Some(Bypass::new(network));
    }
    let entry = entry.trim_end_matches('/');
    let is_bare_address = !entry.starts_with('[') && entry.matches(':').count() > 1;
    let (host, port) = match split_port(entry) {
        _ if is_bare_address => (entry, None),
        (host, None) => (host, None),
        (host, Some(port)) => (host, Some(parse_port(port)?)),
    };
    let hosts = network(host).or_else(|| pattern(host))?;
    Some(Bypass { hosts, port })
}

/// Normalizes names to lower case without a final dot, and addresses to the form without brackets.
fn pattern(host: &str) -> Option<Hosts> {
    let name = host
        .trim_matches(['[', ']'])
        .trim_end_matches('.')
        .to_ascii_lowercase();
    // `<-loopback>` would send loopback hosts through the proxy, which is never done; other macros are unknown.
    if name.is_empty() || name.contains(['<', '>']) {
        return None;
    }
    // Browsers treat a leading dot like this.
    let name = if name.starts_with('.') {
        format!("*{name}")
    } else {
        name
    };
    Some(Hosts::Pattern(name))
}

/// The protocol of entries that name none.
const ANY: &str = "";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;
    use keybound_core::tls::Host;

    #[test]
    fn selects_the_https_proxy() {
        for (list, host, port) in [
            ("proxy:8080", "proxy", 8080),
            ("proxy", "proxy", 80),
            ("http://proxy.contoso.com:8080", "proxy.contoso.com", 8080),
            ("http=a:80;https=b:81", "b", 81),
            ("http=a:80 \t https=b:81", "b", 81),
            ("HTTP=a:80;HTTPS=http://b:81", "b", 81),
            ("https=b:81;https=c:82", "b", 81),
            ("a:80;https=b:81", "b", 81),
            ("http=a:80;c:82", "c", 82),
            ("a:80;b:81", "a", 80),
            (";; a:80 ;", "a", 80),
            ("https=;a:80", "a", 80),
            ("socks=s:1080;https=b:81", "b", 81),
            ("https=b:99999;https=c:82", "c", 82),
            ("https=https://b:81;a:80", "a", 80),
            ("[fd00::1]:8080", "fd00::1", 8080),
            ("10.0.0.1:8080", "10.0.0.1", 8080),
        ] {
            let HttpsProxy::Proxy(proxy) = https_proxy(list).unwrap() else {
                panic!("{list}");
            };
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{list}");
        }
    }

    #[test]
    fn list_may_exclude_https() {
        for list in ["http=a:80", "ftp=a:21;http=b:80", "https="] {
            let proxy = https_proxy(list).unwrap();
            assert!(matches!(proxy, HttpsProxy::None), "{list}");
        }
        for list in ["", " ; \t;"] {
            let proxy = https_proxy(list).unwrap();
            assert!(matches!(proxy, HttpsProxy::NotSet), "{list}");
        }
    }

    #[test]
    fn rejects_unusable_lists_without_repeating_credentials() {
        for (list, text) in [
            ("https=https://user:swordfish@b:81", "http URL"),
            ("socks=swordfish:1080", "socks"),
            ("http=a:80;socks=swordfish:1080", "socks"),
            ("user:sword=fish@b:99999", "not a URL"),
            ("b:81/swordfish", "path"),
        ] {
            let error = https_proxy(list).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert!(!format!("{error:?}").contains("fish"), "{error:?}");
        }
    }

    fn is_exempt(list: &str, host: &str) -> bool {
        let origin = Origin {
            host: Host::parse(host).unwrap(),
            port: 443,
        };
        exceptions(list).iter().any(|entry| entry.matches(&origin))
    }

    #[test]
    fn exceptions_match_hosts_patterns_addresses_and_networks() {
        for (list, host, direct) in [
            ("", "a.contoso.com", false),
            ("*", "a.contoso.com", true),
            ("*", "10.1.2.3", true),
            ("a.contoso.com", "a.contoso.com", true),
            ("A.Contoso.com.", "a.contoso.com", true),
            // Unlike in NO_PROXY, a name does not include its subdomains.
            ("contoso.com", "a.contoso.com", false),
            ("*.contoso.com", "a.b.contoso.com", true),
            ("*.contoso.com", "contoso.com", false),
            ("*.contoso.com", "a.contoso.com.example", false),
            (".contoso.com", "a.contoso.com", true),
            (".contoso.com", "contoso.com", false),
            ("*contoso*", "a.contoso.example", true),
            ("a*b.*.com", "a.b.contoso.com", true),
            ("a*b.*.com", "a.b.com", false),
            ("10.*", "10.1.2.3", true),
            ("10.*", "110.1.2.3", false),
            ("192.168.*.1", "192.168.77.1", true),
            ("192.168.*.1", "192.168.77.2", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("fd00::1", "[fd00::1]", true),
            ("[FD00:0::1]:443", "[fd00::1]", true),
            ("[fd00::*]", "[fd00::1]", true),
            ("fd00::*", "[fd00::1]", true),
            ("fd00::*", "[fe00::1]", false),
            ("a.contoso.com:443", "a.contoso.com", true),
            ("a.contoso.com:444", "a.contoso.com", false),
            ("*.contoso.com:443", "a.contoso.com", true),
            ("a.contoso.com:99999", "a.contoso.com", false),
            ("https://*.contoso.com", "a.contoso.com", true),
            ("https://a.contoso.com/", "a.contoso.com", true),
            ("http://a.contoso.com", "a.contoso.com", false),
            ("x;y a.contoso.com\tz", "a.contoso.com", true),
        ] {
            assert_eq!(is_exempt(list, host), direct, "{list} {host}");
        }
    }

    #[test]
    fn local_matches_names_without_a_dot() {
        for (host, direct) in [
            ("intranet", true),
            ("intranet.", true),
            ("a.contoso.com", false),
            ("10.1.2.3", false),
            ("[fd00::1]", false),
        ] {
            assert_eq!(is_exempt("x;<Local>", host), direct, "{host}");
        }
        for other in ["<-loopback>", "<local", "<other>", "<", "<*"] {
            assert!(!is_exempt(other, "intranet"), "{other}");
        }
    }

    #[test]
    fn matches_patterns_in_bounded_time() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("", "a", false),
            ("a", "", false),
            ("**", "abc", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*ab", "aab", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("a*c", "abcd", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
        let (pattern, text) = ("*a".repeat(10_000), "a".repeat(253));
        assert!(!matches_pattern(&pattern, &text));
        assert!(!matches_pattern(&format!("{}b", "a*".repeat(250)), &text));
    }
}
