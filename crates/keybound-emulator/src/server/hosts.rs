//! The hosts that a request can name. With DNS rebinding, a web page makes a browser send requests to loopback under a domain
//! of the attacker. Only the name distinguishes these requests, so that names that can be registered are rejected.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a request names the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In the `Host` header.
    Origin,
    /// In an absolute URL (RFC 9112 section 3.2.2), as in requests to a proxy.
    Absolute,
}

/// The hosts that requests to one listener can name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosts {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// Also the address of Azure's IMDS, and in the absolute form names that cannot be resolved (RFC 6761 section 6.4): for
    /// clients that use the emulator as their HTTP proxy.
    pub(super) link_local: bool,
}

impl Hosts {
    /// Whether an authority is a permitted host: a loopback address or `localhost`, with any port.
    pub(super) fn include(self, authority: &str, form: Form) -> bool {
        let Some(host) = host_of(authority) else {
            return false;
        };
        match address(host) {
            Some(address) => {
                address.is_loopback() || (self.link_local && address == IpAddr::V4(IMDS))
            }
            None => {
                let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                name == "localhost"
                    || (self.link_local && form == Form::Absolute && is_unresolvable(&name))
            }
        }
    }
}

/// The host of `host[:port]` without user information.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            (
                &authority[..end],
                authority[end..]
                    .strip_prefix(':')
                    .or(authority[end..].is_empty().then_some("")),
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let digits = port?.bytes().all(|byte| byte.is_ascii_digit());
    (digits && port?.len() <= 5 && !host.is_empty()).then_some(host)
}

fn address(host: &str) -> Option<IpAddr> {
    let address = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(literal) => IpAddr::V6(literal.parse::<Ipv6Addr>().ok()?),
        None => IpAddr::V4(host.parse::<Ipv4Addr>().ok()?),
    };
    Some(address.to_canonical())
}

/// A name below `invalid`, of letters, digits and dashes.
fn is_unresolvable(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(plain)
    };
    name.strip_suffix(".invalid")
        .is_some_and(|rest| rest.split('.').all(label))
}

/// The address of Azure's IMDS.
const IMDS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(link_local: bool) -> Hosts {
        Hosts {
            scheme: "http",
            link_local,
        }
    }

    #[test]
    fn accepts_names_and_addresses_of_loopback() {
        for authority in [
            "localhost",
            "LocalHost",
            "localhost.",
            "localhost:80",
            "localhost:",
            "127.0.0.1",
            "127.0.0.1:65535",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:443",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:1",
        ] {
            for link_local in [false, true] {
                for form in [Form::Origin, Form::Absolute] {
                    assert!(hosts(link_local).include(authority, form), "{authority}");
                }
            }
        }
    }

    #[test]
    fn rejects_registrable_names_in_both_forms() {
        for authority in [
            "",
            ":80",
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "evil.localhost.example",
            "localhost..",
            ".localhost",
            "a.localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "127.0.0.1.",
            "127.1",
            "2130706433",
            "0x7f000001",
            "127.0.0.01",
            "0.0.0.0",
            "10.0.0.1",
            "169.254.169.253",
            "168.63.129.16",
            "[::]",
            "[::2]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[::1%lo]",
            "[127.0.0.1]",
            "::1",
            "[fe80::a9fe:a9fe]",
            "user@localhost",
            "localhost@evil.example",
            "localhost:80:80",
            "localhost:x",
            "localhost:123456",
            "localhost/",
            "local host",
            "invalid",
            ".invalid",
            "evil.invalid.example",
            "evil..invalid",
            "evil@x.invalid",
        ] {
            for link_local in [false, true] {
                for form in [Form::Origin, Form::Absolute] {
                    let accepted = hosts(link_local).include(authority, form);
                    assert!(!accepted, "{authority} {link_local} {form:?}");
                }
            }
        }
    }

    #[test]
    fn only_imds_accepts_its_azure_address_and_unresolvable_names() {
        let (imds, other) = (hosts(true), hosts(false));
        for authority in [
            "169.254.169.254",
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]",
        ] {
            for form in [Form::Origin, Form::Absolute] {
                assert!(imds.include(authority, form), "{authority}");
                assert!(!other.include(authority, form), "{authority}");
            }
        }
        for authority in ["imds.invalid", "IMDS.Invalid.:80", "a.b-c.invalid"] {
            assert!(imds.include(authority, Form::Absolute), "{authority}");
            assert!(!imds.include(authority, Form::Origin), "{authority}");
            assert!(!other.include(authority, Form::Absolute), "{authority}");
        }
    }
}
