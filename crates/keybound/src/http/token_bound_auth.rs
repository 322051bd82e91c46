//! The headers that carry a token.
use crate::AccessToken;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use keybound_core::{Error, Result, TokenType, vault_domain};

/// Hosts that, besides those of Key Vault and Managed HSM, get the header `x-ms-tokenboundauth`: names, or `*.domain`.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenBoundAuthHosts(Vec<String>);

impl TokenBoundAuthHosts {
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

/// Sets `Authorization`, and `x-ms-tokenboundauth` for hosts that request the certificate only with that header. A bearer token
/// is never sent with it.
pub(crate) fn authorize(
    headers: &mut HeaderMap,
    host: &str,
    token: &AccessToken,
    hosts: &TokenBoundAuthHosts,
) -> Result<()> {
    let header = token.header();
    let value = header
        .authorization()
        .ok_or_else(|| Error::invalid_request("the token cannot be a header value"))?;
    // The host may be an alias of a vault: the resource of the token counts too.
    let is_vault = || vault_domain(host).is_some() || header.is_for_vault();
    headers.insert(AUTHORIZATION, value.clone());
    if token.token_type() != TokenType::MtlsPop {
        headers.remove(TOKEN_BOUND_AUTH);
    } else if is_vault() || hosts.has(host) {
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
        let hosts =
            TokenBoundAuthHosts::new(["Api.Example.".to_owned(), "*.vault.example".to_owned()]);
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
        assert!(!TokenBoundAuthHosts::default().has("api.example"));
    }
}
