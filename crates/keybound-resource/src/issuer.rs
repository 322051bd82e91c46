use crate::BuildError;
use crate::keys::https_origin;
use keybound_core::{Cloud, Guid};
use std::fmt;

/// The version of an access token. The resource's manifest chooses it (`accessTokenAcceptedVersion`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenVersion {
    /// Version 1: the client is in `appid`.
    V1,
    /// Version 2: the client is in `azp`, and the audience is the client id of the resource.
    V2,
}

impl TokenVersion {
    /// The value of the claim `ver`.
    pub fn claim(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

/// Entra's issuers in a cloud. Outside of the public cloud, that of version 1 is added as an [`Issuer`].
pub(crate) fn issuers_of(cloud: Cloud) -> Vec<Issuer> {
    let authority = format!("https://{}/{{tenantid}}", cloud.authority_host());
    let version_2 = Issuer::new(
        TokenVersion::V2,
        &format!("{authority}/v2.0"),
        &format!("{authority}/v2.0/.well-known/openid-configuration"),
    );
    if cloud != Cloud::Public {
        return vec![version_2];
    }
    let version_1 = Issuer::new(
        TokenVersion::V1,
        "https://sts.windows.net/{tenantid}/",
        &format!("{authority}/.well-known/openid-configuration"),
    );
    vec![
        version_1.key_issuer(&format!("{authority}/v2.0")),
        version_2,
    ]
}

/// An issuer of tokens of one version, with its metadata document.
///
/// In both names, `{tenantid}` stands for the tenant, in lower case. An issuer whose name has none is that of one
/// [tenant](Self::tenant).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    version: TokenVersion,
    name: Template,
    metadata: String,
    /// The only tenant of its tokens.
    tenant: Option<Guid>,
    /// Further issuers whose keys sign its tokens.
    key_issuers: Vec<Template>,
}

impl Issuer {
    /// An issuer: the claim `iss` of its tokens, such as `https://sts.windows.net/{tenantid}/`, and the URL of its metadata,
    /// such as `https://login.microsoftonline.com/{tenantid}/.well-known/openid-configuration`. The URL is used for discovered keys
    /// only, and is an `https` one then.
    pub fn new(version: TokenVersion, name: &str, metadata: &str) -> Self {
        Self {
            version,
            name: Template::new(name),
            metadata: metadata.to_owned(),
            tenant: None,
            key_issuers: Vec::new(),
        }
    }

    /// The only tenant whose tokens it issues. Required where its name has no `{tenantid}`: otherwise it could issue tokens that claim
    /// any of the accepted tenants.
    #[must_use]
    pub fn tenant(mut self, tenant: Guid) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Accepts keys that name another issuer: those of Entra sign tokens of both versions, and name the issuer of version 2, in the key
    /// set of version 2 only.
    #[must_use]
    pub fn key_issuer(mut self, name: &str) -> Self {
        self.key_issuers.push(Template::new(name));
        self
    }

    /// Whether its names are usable, and its metadata if keys are discovered.
    pub(crate) fn check(&self, discovers_keys: bool) -> Result<(), BuildError> {
        for name in std::iter::once(&self.name).chain(&self.key_issuers) {
            let name = name.to_string();
            if name.trim().is_empty() {
                return Err(BuildError::EmptyText {
                    setting: "names of issuers",
                });
            }
            if name.matches(PLACEHOLDER).count() > 1 {
                return Err(BuildError::IssuerName { name });
            }
        }
        if discovers_keys && https_origin(&self.metadata).is_none() {
            let issuer = self.name.to_string();
            return Err(BuildError::IssuerMetadata { issuer });
        }
        Ok(())
    }

    /// The version of its tokens.
    pub(crate) fn version(&self) -> TokenVersion {
        self.version
    }

    /// Whether `iss` is its name for the tenant `tid`, exactly, and it issues tokens of that tenant.
    pub(crate) fn is_name(&self, iss: &str, tid: &str) -> bool {
        self.name.matches(iss, tid) && self.tenant.as_ref().is_none_or(|own| own.matches(tid))
    }

    /// Whether a token names its tenant in one place that is verified: in the name of the issuer, or by the issuer itself.
    pub(crate) fn has_tenant(&self) -> bool {
        self.tenant.is_some() || self.name.suffix.is_some()
    }

    /// The only tenant of its tokens.
    pub(crate) fn only_tenant(&self) -> Option<&Guid> {
        self.tenant.as_ref()
    }

    /// Whether a key that names this issuer signs its tokens for the tenant `tid`.
    pub(crate) fn accepts_key_of(&self, key_issuer: &Template, tid: &str) -> bool {
        let key_issuer = key_issuer.text(tid);
        let mut accepted = std::iter::once(&self.name).chain(&self.key_issuers);
        accepted.any(|accepted| accepted.matches(&key_issuer, tid))
    }

    /// Its name for one tenant, or its template. Issuers write tenants in lower case.
    pub(crate) fn name(&self, tenant: Option<&Guid>) -> String {
        match tenant {
            Some(tenant) => self.name.text(&tenant.as_str().to_ascii_lowercase()),
            None => self.name.to_string(),
        }
    }

    /// The URL of its metadata for one tenant, or for all of them, which Entra calls `common`.
    pub(crate) fn metadata(&self, tenant: Option<&Guid>) -> String {
        let tenant = tenant.map_or("common", Guid::as_str);
        let tenant = tenant.to_ascii_lowercase();
        self.metadata.replace(PLACEHOLDER, &tenant)
    }
}

/// A name with at most one `{tenantid}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    prefix: String,
    /// What follows the tenant, if there is one.
    suffix: Option<String>,
}

impl Template {
    pub(crate) fn new(text: &str) -> Self {
        let (prefix, suffix) = match text.split_once(PLACEHOLDER) {
            Some((prefix, suffix)) => (prefix, Some(suffix.to_owned())),
            None => (text, None),
        };
        Self {
            prefix: prefix.to_owned(),
            suffix,
        }
    }

    /// Whether `name` is exactly this text with the tenant in its place.
    pub(crate) fn matches(&self, name: &str, tenant: &str) -> bool {
        match &self.suffix {
            None => name == self.prefix,
            Some(suffix) => {
                name.strip_prefix(self.prefix.as_str())
                    .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                    == Some(tenant)
            }
        }
    }

    fn text(&self, tenant: &str) -> String {
        match &self.suffix {
            None => self.prefix.clone(),
            Some(suffix) => format!("{}{tenant}{suffix}", self.prefix),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(PLACEHOLDER))
    }
}

const PLACEHOLDER: &str = "{tenantid}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_has_an_issuer_of_version_2() {
        let tenant = "22222222-2222-2222-2222-222222222222";
        for cloud in Cloud::ALL {
            let issuers = issuers_of(cloud);
            let issuer = issuers.last().unwrap();
            let host = cloud.authority_host();
            assert_eq!(issuer.version(), TokenVersion::V2);
            assert!(issuer.is_name(&format!("https://{host}/{tenant}/v2.0"), tenant));
            assert_eq!(
                issuer.metadata(None),
                format!("https://{host}/common/v2.0/.well-known/openid-configuration")
            );
            assert_eq!(issuers.len(), if cloud == Cloud::Public { 2 } else { 1 });
        }
    }
}
