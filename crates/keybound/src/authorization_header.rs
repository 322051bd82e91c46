use http::HeaderValue;
use keybound_core::{Scope, SecretString, vault_domain};
use url::Url;

/// The value of the `Authorization` header for a token, created once for all requests.
pub(crate) struct AuthorizationHeader {
    value: Option<HeaderValue>,
    is_for_vault: bool,
}

impl AuthorizationHeader {
    pub(crate) fn new(authorization: &SecretString, scope: &Scope) -> Self {
        let mut value = HeaderValue::from_str(authorization.expose()).ok();
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Self {
            value,
            is_for_vault: is_vault(scope.resource()),
        }
    }

    /// The value; `None` if the token is not a valid header value.
    pub(crate) fn value(&self) -> Option<&HeaderValue> {
        self.value.as_ref()
    }

    /// Whether the token is for Key Vault or Managed HSM.
    pub(crate) fn is_for_vault(&self) -> bool {
        self.is_for_vault
    }
}

/// Whether a resource is Key Vault or Managed HSM.
pub(crate) fn is_vault(resource: &str) -> bool {
    let resource = Url::parse(resource).ok();
    let host = resource.as_ref().and_then(Url::host_str);
    host.is_some_and(|host| vault_domain(host).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_vaults_by_the_resource() {
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
