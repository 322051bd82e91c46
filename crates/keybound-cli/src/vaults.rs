//! The resource of a vault, by its URL.
use crate::emulation;
use keybound_core::vault_domain;
use url::Url;

/// The resource of the vault at a URL; `None` for another URL. With `simulated`, the URL may be that of the emulator's vault.
pub(crate) fn resource(url: &Url, simulated: bool) -> Option<String> {
    let emulated = simulated.then(emulation::vault_origin).flatten();
    resource_in(url, emulated.as_deref())
}

fn resource_in(url: &Url, emulated: Option<&str>) -> Option<String> {
    let emulated = emulated.and_then(|vault| Url::parse(vault).ok());
    if emulated.is_some_and(|vault| vault.origin() == url.origin()) {
        return Some(VAULT.to_owned());
    }
    vault_domain(url.host_str()?).map(|domain| format!("https://{domain}"))
}

/// The resource of the emulator's vault.
const VAULT: &str = "https://vault.azure.net";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_resource_from_urls_of_vaults_only() {
        for (url, expected) in [
            (
                "https://my.vault.azure.net/a",
                Some("https://vault.azure.net"),
            ),
            (
                "https://MY.Vault.Azure.Net./",
                Some("https://vault.azure.net"),
            ),
            (
                "https://my.managedhsm.azure.net:8443/",
                Some("https://managedhsm.azure.net"),
            ),
            ("https://my.vault.azure.cn/", Some("https://vault.azure.cn")),
            (
                "https://my.managedhsm.azure.cn/",
                Some("https://managedhsm.azure.cn"),
            ),
            (
                "https://my.vault.usgovcloudapi.net/",
                Some("https://vault.usgovcloudapi.net"),
            ),
            (
                "https://my.managedhsm.usgovcloudapi.net/",
                Some("https://managedhsm.usgovcloudapi.net"),
            ),
            (
                "https://127.0.0.1:7000/secrets/a",
                Some("https://vault.azure.net"),
            ),
            ("https://127.0.0.1:7001/secrets/a", None),
            ("https://localhost:7000/secrets/a", None),
            ("https://evilvault.azure.net/", None),
            ("https://vault.azure.net.evil.example/", None),
            ("https://evil.example/vault.azure.net", None),
            ("https://mtlstb.graph.microsoft.com/", None),
        ] {
            let parsed = Url::parse(url).unwrap();
            let found = resource_in(&parsed, Some("https://127.0.0.1:7000"));
            assert_eq!(found.as_deref(), expected, "{url}");
        }
        let emulated = Url::parse("https://127.0.0.1:7000/").unwrap();
        assert_eq!(resource_in(&emulated, None), None);
    }
}
