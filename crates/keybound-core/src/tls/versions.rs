use super::Host;
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

/// TLS versions by host. Without an entry: TLS 1.2 for hosts of Key Vault and Managed HSM, which request the certificate
/// by renegotiation; 1.2 or 1.3 for all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPolicy {
    entries: Vec<(Host, TlsVersions)>,
}

impl VersionPolicy {
    /// Sets the versions of one host, a name or an address without a port. The last entry for a host counts; one that is
    /// not a host has no effect.
    #[must_use]
    pub fn with_host(mut self, host: &str, versions: TlsVersions) -> Self {
        let host = Host::parse(host).or_else(|| host.parse().ok().map(Host::Ip));
        self.entries.extend(host.map(|host| (host, versions)));
        self
    }

    /// The versions for a host.
    pub fn for_host(&self, host: &Host) -> TlsVersions {
        let entry = self.entries.iter().rev().find(|(known, _)| known == host);
        match (entry, host) {
            (Some((_, versions)), _) => *versions,
            (None, Host::Name(name)) if vault_domain(name).is_some() => TlsVersions::Tls12,
            (None, _) => TlsVersions::Tls12Or13,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_tls_12_to_vaults_and_both_to_others() {
        let policy = VersionPolicy::default();
        let versions = |host| policy.for_host(&Host::parse(host).unwrap());
        for host in ["my-vault.vault.azure.net", "MY.MANAGEDHSM.AZURE.CN."] {
            assert_eq!(versions(host), TlsVersions::Tls12, "{host}");
        }
        for host in [
            "evilvault.azure.net",
            "a.vault.azure.net.evil.example",
            "mtlsauth.microsoft.com",
            "localhost",
            "127.0.0.1",
        ] {
            assert_eq!(versions(host), TlsVersions::Tls12Or13, "{host}");
        }
    }

    #[test]
    fn entries_precede_the_default_and_the_last_one_counts() {
        let policy = VersionPolicy::default()
            .with_host("A.vault.azure.net", TlsVersions::Tls12Or13)
            .with_host("[::1]", TlsVersions::Tls12)
            .with_host("::2", TlsVersions::Tls13)
            .with_host("not a host", TlsVersions::Tls13)
            .with_host("a.vault.azure.net.", TlsVersions::Tls13);
        for (host, versions) in [
            ("a.vault.azure.net", TlsVersions::Tls13),
            ("b.vault.azure.net", TlsVersions::Tls12),
            ("[0::1]", TlsVersions::Tls12),
            ("[::2]", TlsVersions::Tls13),
        ] {
            let parsed = Host::parse(host).unwrap();
            assert_eq!(policy.for_host(&parsed), versions, "{host}");
        }
    }
}
