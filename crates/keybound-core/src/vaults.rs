use crate::Cloud;

/// Returns the domain of Key Vault or Managed HSM that a host belongs to (`vault.azure.net` for `my.vault.azure.net`, and for
/// itself), in any [`Cloud`]; `None` for any other host.
///
/// These services request the client certificate by TLS 1.2 renegotiation, after a request header announces a bound token.
pub fn vault_domain(host: &str) -> Option<&'static str> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let of_cloud = |cloud: Cloud| [cloud.vault_domain(), cloud.managed_hsm_domain()];
    Cloud::ALL.into_iter().flat_map(of_cloud).find(|domain| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || (rest.len() > 1 && rest.ends_with('.')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_vaults_from_similar_hosts() {
        for (host, domain) in [
            ("my.vault.azure.net", Some("vault.azure.net")),
            ("MY.Managedhsm.Azure.Net.", Some("managedhsm.azure.net")),
            ("a.b.vault.azure.cn", Some("vault.azure.cn")),
            ("vault.usgovcloudapi.net", Some("vault.usgovcloudapi.net")),
            (
                "a.managedhsm.usgovcloudapi.net",
                Some("managedhsm.usgovcloudapi.net"),
            ),
            ("a.vault.sovcloud-api.fr", Some("vault.sovcloud-api.fr")),
            (
                "a.managedhsm.sovcloud-api.de",
                Some("managedhsm.sovcloud-api.de"),
            ),
            ("a.vault.sovcloud-api.sg", Some("vault.sovcloud-api.sg")),
            (".vault.azure.net", None),
            ("evilvault.azure.net", None),
            ("a.vault.azure.net.evil.example", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(vault_domain(host), domain, "{host}");
        }
    }
}
