//! The headers that carry a token.
use crate::AccessToken;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use keybound_core::{Error, Result, TokenType, vault_domain};

/// Hosts that, besides Key Vault's and Managed HSM's, are told that the token is bound: names, or `*.domain`.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnnouncedHosts(Vec<String>);

impl AnnouncedHosts {
    pub(crate) fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self(hosts.into_iter().map(|host| plain(&host)).collect())
    }

    fn has(&self, host: &str) -> bool {
        let host = plain(host);
        self.0.iter().any(|entry| match entry.strip_prefix('*') {
            Some(below) => host.len() > below.len() && host.ends_with(below),
            None => *entry == host,
        })
    }
}

/// Sets `Authorization`, and `x-ms-tokenboundauth` for those who ask for the certificate only then. A bearer token never
/// goes with that header.
pub(crate) fn authorize(
    headers: &mut HeaderMap,
    host: &str,
    token: &AccessToken,
    announced: &AnnouncedHosts,
) -> Result<()> {
    let presented = token.presented();
    let value = presented
        .authorization()
        .ok_or_else(|| Error::invalid_request("the token cannot be a header value"))?;
    // Key Vault and Managed HSM are told by the host that is called, or by the resource that the token is for.
    let asks_on_request = || vault_domain(host).is_some() || presented.is_for_vault();
    headers.insert(AUTHORIZATION, value.clone());
    if token.token_type() != TokenType::MtlsPop {
        headers.remove(TOKEN_BOUND_AUTH);
    } else if asks_on_request() || announced.has(host) {
        headers.insert(TOKEN_BOUND_AUTH, HeaderValue::from_static("true"));
    }
    Ok(())
}

fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

const TOKEN_BOUND_AUTH: HeaderName = HeaderName::from_static("x-ms-tokenboundauth");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_extended_by_names_and_domains() {
        let hosts = AnnouncedHosts::new(["Api.Example.".to_owned(), "*.vault.example".to_owned()]);
        for (host, expected) in [
            ("api.example", true),
            ("API.EXAMPLE.", true),
            ("a.vault.example", true),
            ("vault.example", false),
            ("evilvault.example", false),
            ("a.vault.example.evil", false),
        ] {
            assert_eq!(hosts.has(host), expected, "{host}");
        }
        assert!(!AnnouncedHosts::default().has("api.example"));
    }
}
