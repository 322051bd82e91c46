use crate::vault_domain;

/// The TLS versions offered to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersions {
    /// TLS 1.2 only.
    Tls12,
    /// TLS 1.3 only, with post-handshake authentication offered (SChannel does not offer it).
    Tls13,
    /// TLS 1.2 or 1.3, with post-handshake authentication offered (SChannel does not offer it).
    Tls12Or13,
}

impl TlsVersions {
    /// Whether TLS 1.2 is offered.
    pub fn includes_12(self) -> bool {
        matches!(self, Self::Tls12 | Self::Tls12Or13)
    }

    /// Whether TLS 1.3 is offered.
    pub fn includes_13(self) -> bool {
        matches!(self, Self::Tls13 | Self::Tls12Or13)
    }
}

/// TLS versions by host. Without an entry: TLS 1.2 for hosts of Key Vault and Managed HSM (they ask for the
/// certificate by renegotiation), 1.2 or 1.3 for all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPolicy {
    entries: Vec<(String, TlsVersions)>,
}

impl VersionPolicy {
    /// Sets the versions of one host, a name or an address without a port. The last entry for a host counts.
    #[must_use]
    pub fn with_host(mut self, host: &str, versions: TlsVersions) -> Self {
        self.entries.push((normal(host), versions));
        self
    }

    /// The versions for a host.
    pub fn for_host(&self, host: &str) -> TlsVersions {
        let host = normal(host);
        let entry = self.entries.iter().rev().find(|(name, _)| *name == host);
        match entry {
            Some((_, versions)) => *versions,
            None if vault_domain(&host).is_some() => TlsVersions::Tls12,
            None => TlsVersions::Tls12Or13,
        }
    }
}

/// Lower case, without a trailing dot or the brackets of an IPv6 address.
fn normal(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vaults_and_hsms_get_tls_12_and_others_both() {
        let policy = VersionPolicy::default();
        for host in ["my-vault.vault.azure.net", "MY.MANAGEDHSM.AZURE.CN."] {
            assert_eq!(policy.for_host(host), TlsVersions::Tls12, "{host}");
        }
        for host in [
            "evilvault.azure.net",
            "a.vault.azure.net.evil.example",
            "mtlsauth.microsoft.com",
            "localhost",
            "127.0.0.1",
        ] {
            assert_eq!(policy.for_host(host), TlsVersions::Tls12Or13, "{host}");
        }
    }

    #[test]
    fn an_entry_goes_before_the_rule_and_a_later_one_before_an_earlier() {
        let policy = VersionPolicy::default()
            .with_host("A.vault.azure.net", TlsVersions::Tls12Or13)
            .with_host("[::1]", TlsVersions::Tls12)
            .with_host("a.vault.azure.net", TlsVersions::Tls13);
        assert_eq!(policy.for_host("a.vault.azure.net"), TlsVersions::Tls13);
        assert_eq!(policy.for_host("b.vault.azure.net"), TlsVersions::Tls12);
        assert_eq!(policy.for_host("[::1]"), TlsVersions::Tls12);
    }
}
