//! Names of hosts, by which policies are chosen.

/// The name in an authority: in lower case, without the port and without the dot at its end. `None` if it is not the name of a host
/// or an address.
pub(crate) fn normalized(authority: &str) -> Option<String> {
    let name = match authority.strip_prefix('[') {
        Some(address) => {
            let (address, port) = address.split_once(']')?;
            if !is_port(port) {
                return None;
            }
            return Some(format!("[{}]", address.parse::<std::net::Ipv6Addr>().ok()?));
        }
        None => match authority.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return None,
            None => authority,
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_valid = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_host = name.len() <= MAX_NAME && name.split('.').all(is_valid);
    is_host.then(|| name.to_ascii_lowercase())
}

/// Whether a normalized name is an address.
pub(crate) fn is_address(name: &str) -> bool {
    name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or(text);
    (text.is_empty() || text.starts_with(':')) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_case_port_and_final_dot() {
        for (authority, expected) in [
            ("orders.contoso.com", Some("orders.contoso.com")),
            ("Orders.Contoso.COM:8443", Some("orders.contoso.com")),
            ("orders.contoso.com.", Some("orders.contoso.com")),
            ("orders.contoso.com.:443", Some("orders.contoso.com")),
            ("127.0.0.1:1", Some("127.0.0.1")),
            ("[::1]", Some("[::1]")),
            ("[0:0::1]:443", Some("[::1]")),
            ("a_b", Some("a_b")),
            ("", None),
            (".", None),
            ("a..b", None),
            ("a.b..", None),
            ("a:b", None),
            ("a:1:2", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[x]", None),
            ("a@b", None),
            ("a/b", None),
            ("a b", None),
            ("a,b", None),
            ("ä", None),
            ("a\0", None),
        ] {
            assert_eq!(normalized(authority).as_deref(), expected, "{authority:?}");
        }
        assert_eq!(normalized(&"a".repeat(254)), None);
    }
}
