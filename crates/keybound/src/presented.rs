//! What a token goes out with, made once for all its requests.
use crate::access_token::IssuedToken;
use http::HeaderValue;
use keybound_core::vault_domain;
use url::Url;

/// A token as resources see it.
pub(crate) struct Presented {
    authorization: Option<HeaderValue>,
    for_vault: bool,
}

impl Presented {
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

    /// The value of `Authorization`; `None` where the token cannot be one.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Whether it is for Key Vault or Managed HSM.
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
    fn vaults_are_told_by_the_resource() {
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
