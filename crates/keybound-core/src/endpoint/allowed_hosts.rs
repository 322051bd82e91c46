use url::Host;

/// A list of the hosts that an endpoint may have. Case is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowedHosts {
    entries: Vec<String>,
    /// The reason for refusing other hosts.
    refusal: &'static str,
}

impl AllowedHosts {
    /// The program's list: `login.example.com` exactly, or `*.example.com` for any name below. An entry in another form
    /// matches no host.
    pub(super) fn from_program(entries: Vec<String>) -> Self {
        Self {
            entries: entries
                .iter()
                .map(|entry| entry.to_ascii_lowercase())
                .collect(),
            refusal: "is not on the allow-list of hosts",
        }
    }

    /// The operator's list: entries separated by commas or semicolons; `*.example.com` also allows `example.com`. `None` for
    /// a blank text. A list with a malformed entry allows no host.
    pub(super) fn from_operator(text: &str) -> Option<Self> {
        if text.trim().is_empty() {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let entries = text.split([',', ';']).map(str::trim);
        let entries: Vec<&str> = entries.filter(|entry| !entry.is_empty()).collect();
        if !entries.iter().all(|entry| is_entry(entry)) {
            return Some(Self {
                entries: vec![],
                refusal: "is refused: MSAL_MI_IMDSV2_ALLOWED_HOSTS has an entry that is not a host name, and so allows no host",
            });
        }
        let expanded = entries
            .iter()
            .flat_map(|entry| [Some(*entry), entry.strip_prefix("*.")]);
        Some(Self {
            entries: expanded.flatten().map(str::to_owned).collect(),
            refusal: "is not on the allow-list of hosts in MSAL_MI_IMDSV2_ALLOWED_HOSTS",
        })
    }

    /// Checks that a host is on the list; the error is the reason why not.
    pub(super) fn check(&self, host: &Host<&str>) -> Result<(), &'static str> {
        let text = host.to_string();
        let allows = |entry: &String| match (entry.strip_prefix("*."), host) {
            (Some(domain), Host::Domain(name)) => is_below(name, domain),
            (Some(_), _) => false,
            (None, _) => text == *entry,
        };
        if self.entries.iter().any(allows) {
            Ok(())
        } else {
            Err(self.refusal)
        }
    }
}

fn is_entry(entry: &str) -> bool {
    match entry.strip_prefix("*.") {
        Some(domain) => is_host_name(domain),
        None => is_host_name(entry) || (entry.starts_with('[') && Host::parse(entry).is_ok()),
    }
}

/// Whether it is a host name (RFC 1123 section 2.1) in lower case, internationalized names as `xn--…`. URLs allow more;
/// names of services and certificates are no more than this.
pub(super) fn is_host_name(name: &str) -> bool {
    let well_formed = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(well_formed)
}

/// Whether a name is below a domain and not the domain itself.
pub(super) fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, host: &str) -> bool {
        let list = AllowedHosts::from_operator(list).expect("a list");
        let host = Host::parse(host).unwrap();
        let host = match &host {
            Host::Domain(name) => Host::Domain(name.as_str()),
            Host::Ipv4(address) => Host::Ipv4(*address),
            Host::Ipv6(address) => Host::Ipv6(*address),
        };
        list.check(&host).is_ok()
    }

    #[test]
    fn separates_entries_by_commas_and_semicolons() {
        let list = " a.example ;*.B.example, 127.0.0.1,[::1],,";
        for host in [
            "a.example",
            "A.EXAMPLE",
            "b.example",
            "x.b.example",
            "x.y.b.example",
            "127.0.0.1",
            "[::1]",
        ] {
            assert!(allows(list, host), "{host}");
        }
        for host in [
            "x.a.example",
            "xb.example",
            "example",
            "127.0.0.2",
            "[::2]",
            "c",
        ] {
            assert!(!allows(list, host), "{host}");
        }
    }

    #[test]
    fn blank_list_is_none_and_list_without_entries_allows_nothing() {
        for blank in ["", " ", "\t\r\n"] {
            assert_eq!(AllowedHosts::from_operator(blank), None, "{blank:?}");
        }
        for empty in [",", ";", " , ; "] {
            assert!(!allows(empty, "a.example"), "{empty:?}");
        }
    }

    #[test]
    fn malformed_entry_disallows_all_hosts() {
        for entry in [
            "*",
            "*.",
            ".a.example",
            "*a.example",
            "a.*.example",
            "*.*.example",
            "https://a.example",
            "a.example:443",
            "a.example/",
            "a example",
            "a..example",
            "a.example.",
            "-a.example",
            "a_b.example",
            "u@a.example",
            "[::1",
            "[]",
            "::1",
            "a%2eexample",
            "b\u{fc}cher.example",
            "\u{fffd}",
        ] {
            let list = format!("valid.example,{entry}");
            assert!(!allows(&list, "valid.example"), "{entry:?}");
            let refusal = AllowedHosts::from_operator(&list).unwrap().refusal;
            assert!(refusal.contains("is not a host name"), "{entry:?}");
        }
    }
}
