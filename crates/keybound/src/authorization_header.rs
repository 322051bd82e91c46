use crate::access_token::IssuedToken;
use http::HeaderValue;
use keybound_core::vault_domain;
use url::Url;

/// The value of the `Authorization` header for a token, created once for all requests.
pub(crate) struct AuthorizationHeader {
    authorization: Option<HeaderValue>,
    for_vault: bool,
}

impl AuthorizationHeader {
    pub(crate) fn of(issued: &IssuedToken) -> Self {
        let text = issued.authorization();
        let mut authorization = HeaderValue::from_str(text.expose()).ok();
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Self {
            authorization,
            for_vault: is_vault(issued.scope.resource()),
        }
    }

    /// The value; `None` where the token is not a valid header value.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Whether the token is for Key Vault or Managed HSM.
    pub(crate) fn is_for_vault(&self) -> bool {
        self.for_vault
    }
}

fn is_vault(resource: &str) -> bool {
    let resource = Url::parse(resource).ok();
    let host = resource.as_ref().and_then(Url::host_str);
    host.is_some_and(|host| vault_domain(host).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vaults_are_recognized_by_the_resource() {
        for (resource, expected) in [
            ("https://vault.azure.net", true),
            ("https://MANAGEDHSM.azure.net/", true),
            ("https://graph.microsoft.com", false),
            ("https://vault.azure.net.evil.example", false),
            ("vault.azure.net", false),
            ("api://a", false),
        ] {
            assert_eq!(is_vault(resource), expected, "{resource}");
        }
    }
}
