mod check;

use super::ConfigError;
use crate::apis::MAX_PEM;
use keybound_resource::{
    CertificateRules, Cloud, Guid, Issuer, Schemes, TokenVersion, Verifier, VerifierBuilder,
    regular_file,
};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The policy of an API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ApiConfig {
    /// The names by which clients call it, without ports. The first one is its name in logs and metrics.
    pub hosts: Vec<String>,
    /// The accepted audiences, compared exactly.
    pub audiences: Vec<String>,
    /// The accepted tenants, or `"any"`.
    pub tenants: TenantsConfig,
    /// The allowed clients, by their client ids: at least one. Default: every client.
    #[serde(default)]
    pub clients: Option<Vec<String>>,
    /// The required roles, all of them: at least one. Default: none.
    #[serde(default)]
    pub roles: Option<Vec<String>>,
    /// Whether tokens that are not certainly those of applications are refused.
    #[serde(default)]
    pub app_only: bool,
    /// Whether tokens of users are accepted. Default: only with `scopes`.
    #[serde(default)]
    pub users: Option<bool>,
    /// The required scopes of users, all of them: at least one. Tokens of users are then accepted.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// Whether bound tokens are accepted with the scheme `Bearer` too.
    #[serde(default)]
    pub bearer: bool,
    /// Whether the names in the certificate must be those of a managed identity.
    #[serde(default)]
    pub managed_identity_names: bool,
    /// The CAs one of which must have issued the client's certificate, a PEM file. Default: any issuer.
    #[serde(default)]
    pub trusted_issuers: Option<PathBuf>,
    /// How much the clocks of issuer and daemon may differ, in seconds. Default: 300.
    #[serde(default)]
    pub skew: Option<u64>,
    /// How long after its issue a token is accepted, in seconds. Default: until its expiry.
    #[serde(default)]
    pub max_age: Option<u64>,
    /// The cloud whose issuers are accepted. Default: the public cloud, if there are no `issuers`.
    #[serde(default)]
    pub cloud: Option<CloudName>,
    /// Further issuers: at least one.
    #[serde(default)]
    pub issuers: Option<Vec<IssuerConfig>>,
    /// The parameter `authorization_uri` of challenges.
    #[serde(default)]
    pub authorization_uri: Option<String>,
    /// The parameter `resource` of challenges.
    #[serde(default)]
    pub challenge_resource: Option<String>,
}

/// The accepted tenants.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a list of tenant ids, or \"any\"")]
#[non_exhaustive]
pub enum TenantsConfig {
    /// These.
    Listed(Vec<String>),
    /// `any`: the API decides by the tenant in the request's headers.
    Any(AnyTenant),
}

/// The word `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AnyTenant {
    /// Every tenant of the cloud.
    Any,
}

/// A cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CloudName {
    /// Azure.
    Public,
    /// Azure Government.
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IssuerConfig {
    /// The version of its tokens, 1 or 2.
    pub version: u8,
    /// The claim `iss`, in which `{tenantid}` stands for the tenant.
    pub name: String,
    /// The URL of its metadata document, in which `{tenantid}` stands for the tenant.
    pub metadata: String,
    /// The only tenant of its tokens; required if the name has no `{tenantid}`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Further issuers whose keys sign its tokens.
    #[serde(default)]
    pub key_issuers: Vec<String>,
}

impl ApiConfig {
    /// Its name in logs and metrics.
    pub fn name(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }

    /// A verifier with this policy, without keys and rules for certificates.
    pub(crate) fn verifier(&self) -> Result<VerifierBuilder, ConfigError> {
        let wrong = |what: &str| ConfigError::new(format!("the API {}: {what}", self.name()));
        let mut builder = Verifier::builder()
            .require_app_only(self.app_only)
            .max_age(self.max_age.map(Duration::from_secs));
        if let Some(clients) = &self.clients {
            builder = builder.clients(clients);
        }
        if let Some(roles) = &self.roles {
            builder = builder.require_roles(roles);
        }
        if let Some(accepted) = self.users {
            builder = builder.accept_users(accepted);
        }
        if let Some(scopes) = &self.scopes {
            builder = builder.require_scopes(scopes);
        }
        if self.audiences.is_empty() {
            return Err(wrong("the list of audiences is empty"));
        }
        for audience in &self.audiences {
            builder = builder.audience(audience);
        }
        builder = match &self.tenants {
            TenantsConfig::Any(AnyTenant::Any) => builder.any_tenant(),
            TenantsConfig::Listed(listed) => {
                let tenants = listed.iter().map(|text| Guid::parse(text));
                let tenants: Option<Vec<_>> = tenants.collect();
                builder.tenants(tenants.ok_or_else(|| wrong("a tenant is not a GUID"))?)
            }
        };
        if self.bearer {
            builder = builder.accept(Schemes::MTLS_POP | Schemes::BOUND_BEARER);
        }
        if let Some(skew) = self.skew {
            builder = builder.skew(Duration::from_secs(skew));
        }
        if let Some(cloud) = self.cloud {
            builder = builder.cloud(cloud.into());
        }
        if self.issuers.as_ref().is_some_and(Vec::is_empty) {
            return Err(wrong("the list of issuers is empty"));
        }
        for issuer in self.issuers.iter().flatten() {
            builder = builder.issuer(issuer.issuer().ok_or_else(|| {
                wrong("an issuer has a version other than 1 and 2, or a tenant that is not a GUID")
            })?);
        }
        if let Some(uri) = &self.authorization_uri {
            builder = builder.authorization_uri(uri);
        }
        if let Some(resource) = &self.challenge_resource {
            builder = builder.challenge_resource(resource);
        }
        Ok(builder)
    }
}

impl ApiConfig {
    /// The rules for certificates. Reads the file of the trusted issuers.
    pub(crate) fn certificate_rules(&self) -> Result<CertificateRules, ConfigError> {
        let mut rules = CertificateRules::new();
        if self.managed_identity_names {
            rules = rules.managed_identity_names();
        }
        if let Some(path) = &self.trusted_issuers {
            let pem = regular_file::read(path, MAX_PEM).map_err(|error| {
                ConfigError::new(format!(
                    "the API {}: trusted_issuers {}: {error}",
                    self.name(),
                    path.display()
                ))
            })?;
            rules = rules.trusted_issuers(&pem);
        }
        Ok(rules)
    }
}

impl IssuerConfig {
    fn issuer(&self) -> Option<Issuer> {
        let version = match self.version {
            1 => TokenVersion::V1,
            2 => TokenVersion::V2,
            _ => return None,
        };
        let mut issuer = Issuer::new(version, &self.name, &self.metadata);
        if let Some(tenant) = &self.tenant {
            issuer = issuer.tenant(Guid::parse(tenant)?);
        }
        let further = self.key_issuers.iter();
        Some(further.fold(issuer, |issuer, name| issuer.key_issuer(name)))
    }
}

/// The names of the accepted issuers, in which `{tenantid}` stands for the tenant.
pub(crate) fn issuer_names(api: &ApiConfig) -> Vec<String> {
    let cloud = match (api.cloud, &api.issuers) {
        (Some(cloud), _) => Some(cloud),
        (None, None) => Some(CloudName::Public),
        (None, Some(_)) => None,
    };
    let mut names = Vec::new();
    if let Some(cloud) = cloud {
        let host = Cloud::from(cloud).authority_host();
        names.push(format!("https://{host}/{{tenantid}}/v2.0"));
        if cloud == CloudName::Public {
            names.push("https://sts.windows.net/{tenantid}/".to_owned());
        }
    }
    let further = api.issuers.iter().flatten();
    names.extend(further.map(|issuer| issuer.name.clone()));
    names
}

impl From<CloudName> for Cloud {
    fn from(name: CloudName) -> Self {
        match name {
            CloudName::Public => Self::Public,
            CloudName::UsGovernment => Self::UsGovernment,
            CloudName::China => Self::China,
        }
    }
}
