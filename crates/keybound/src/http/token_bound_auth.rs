//! The headers of a request with a token.
use crate::AccessToken;
use http::Request;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use keybound_core::{Error, Result, TokenType, vault_domain};

/// Hosts that are sent `x-ms-tokenboundauth`, besides those of Key Vault and Managed HSM: names, or `*.domain`.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenBoundAuthHosts(Vec<String>);

impl TokenBoundAuthHosts {
    pub(crate) fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self(hosts.into_iter().map(|host| normalize(&host)).collect())
    }

    fn contains(&self, host: &str) -> bool {
        let host = normalize(host);
        self.0.iter().any(|entry| match entry.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => *entry == host,
        })
    }
}

/// Sets `Authorization`; for bound tokens also `x-ms-tokenboundauth`, without which some hosts do not request the certificate.
pub(crate) fn authorize<B>(
    request: &mut Request<B>,
    token: &AccessToken,
    hosts: &TokenBoundAuthHosts,
) -> Result<()> {
    let header = token.header();
    let value = header
        .value()
        .ok_or_else(|| Error::invalid_request("the token cannot be a header value"))?;
    request.headers_mut().insert(AUTHORIZATION, value.clone());
    if token.token_type() == TokenType::MtlsPop {
        request_certificate(request, header.is_for_vault(), hosts);
    } else {
        request.headers_mut().remove(TOKEN_BOUND_AUTH);
    }
    Ok(())
}

/// Sets `x-ms-tokenboundauth` if the token is for a vault, or the host is one or is listed.
pub(crate) fn request_certificate<B>(
    request: &mut Request<B>,
    is_for_vault: bool,
    hosts: &TokenBoundAuthHosts,
) {
    let host = request.uri().host().unwrap_or_default();
    // The host may be an alias of a vault, so check the resource of the token too.
    if is_for_vault || vault_domain(host).is_some() || hosts.contains(host) {
        let headers = request.headers_mut();
        headers.insert(TOKEN_BOUND_AUTH, HeaderValue::from_static("true"));
    }
}

fn normalize(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

const TOKEN_BOUND_AUTH: HeaderName = HeaderName::from_static("x-ms-tokenboundauth");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_names_and_domains() {
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
            assert_eq!(hosts.contains(host), expected, "{host}");
        }
        assert!(!TokenBoundAuthHosts::default().contains("api.example"));
    }
}
