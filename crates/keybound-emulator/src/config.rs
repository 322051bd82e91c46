//! The configuration of the host, its identities and the services.
mod app;
mod arc_config;
mod compute_config;
mod deserialize;
mod entra_config;
mod graph_config;
mod identity;
mod imds_config;
mod lifetime;
mod network_config;
mod resource;
mod tenant;
#[cfg(test)]
mod tests;
mod tls_config;
mod vault_config;

pub use app::{App, FederatedCredential};
pub use arc_config::ArcConfig;
pub use compute_config::{ComputeConfig, OsType};
pub use entra_config::EntraConfig;
pub use graph_config::GraphConfig;
pub(crate) use identity::roles_for;
pub use identity::{Identity, IdentityType};
pub use imds_config::{
    AttestationRule, BypassCache, ImdsConfig, TokenNotAfterEncoding, TokenUrlMember,
};
pub use network_config::{HostName, NetworkConfig};
pub(crate) use resource::is_same_uri;
pub use resource::{Resource, TokenVersion};
pub use tenant::Tenant;
pub use tls_config::{TlsConfig, TlsVersionRange};
pub use vault_config::VaultConfig;

use crate::clock::MAX_OFFSET_SECONDS;
use crate::faults::Fault;
use identity::default_identities;
use keybound_core::Guid;
use serde::Deserialize;

/// The configuration of an emulator. The defaults support the whole flow: one system-assigned and one user-assigned identity,
/// attestation required, free ports on 127.0.0.1.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The tenant of the host and its identities (a GUID).
    #[serde(deserialize_with = "deserialize::guid")]
    pub tenant_id: Guid,
    /// Further tenants of Entra, at most 16.
    pub tenants: Vec<Tenant>,
    /// The region, in Azure's form, such as `westus2`.
    pub region: String,
    /// The managed identities of the host, at least one, at most one of them system-assigned.
    pub identities: Vec<Identity>,
    /// The APIs that are registered in Entra, at most 100.
    pub resources: Vec<Resource>,
    /// IMDS: the ids of the host and how requests are checked.
    pub imds: ImdsConfig,
    /// The virtual machine in instance metadata.
    pub compute: ComputeConfig,
    /// Entra's token endpoint.
    pub entra: EntraConfig,
    /// The simulated Key Vault.
    pub vault: VaultConfig,
    /// The simulated Graph.
    pub graph: GraphConfig,
    /// Azure Arc's agent.
    pub arc: ArcConfig,
    /// Address and ports.
    pub network: NetworkConfig,
    /// TLS versions.
    pub tls: TlsConfig,
    /// How far the emulator's clock is ahead of the host's at the start, in seconds; negative if it is behind.
    pub clock_offset_seconds: i64,
    /// Faults that are pending from the start, `LEG=ACTION[:ARG][*COUNT]`. See [`Fault`].
    #[serde(deserialize_with = "deserialize::faults")]
    pub faults: Vec<Fault>,
}

impl Config {
    /// Parses TOML. Unknown keys are errors.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and the problem.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(ConfigError::new("the configuration is longer than 1 MiB"));
        }
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::new(error.to_string().trim_end()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks the rules that are not part of the types.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and the problem.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.region.is_empty()
            || self.region.len() > 64
            || !self
                .region
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        {
            return Err(ConfigError::new(
                "region: lower-case letters and digits, as in westus2",
            ));
        }
        tenant::check(&self.tenant_id, &self.tenants)?;
        if self.clock_offset_seconds.unsigned_abs() > MAX_OFFSET_SECONDS.unsigned_abs() {
            return Err(ConfigError::new(
                "clock_offset_seconds: at most 100 years (3162240000), either way",
            ));
        }
        identity::check(&self.identities)?;
        resource::check(&self.resources)?;
        self.imds.check()?;
        self.compute.check()?;
        self.entra.check()?;
        self.vault.check()?;
        self.arc.check()?;
        self.network.check()
    }
}

impl Config {
    /// The ids of all tenants; the first one is that of the host.
    pub(crate) fn tenant_ids(&self) -> impl Iterator<Item = &Guid> {
        let further = self.tenants.iter().map(|tenant| &tenant.id);
        std::iter::once(&self.tenant_id).chain(further)
    }

    /// The registered API that a request for a token names.
    pub(crate) fn resource(&self, name: &str) -> Option<&Resource> {
        let mut resources = self.resources.iter();
        resources.find(|resource| resource.is_named(name))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tenant_id: identity::known_guid("5a5a5a5a-0000-4000-8000-00000000000a"),
            tenants: tenant::default_tenants(),
            region: "westus2".into(),
            identities: default_identities(),
            resources: resource::default_resources(),
            imds: ImdsConfig::default(),
            compute: ComputeConfig::default(),
            entra: EntraConfig::default(),
            vault: VaultConfig::default(),
            graph: GraphConfig::default(),
            arc: ArcConfig::default(),
            network: NetworkConfig::default(),
            tls: TlsConfig::default(),
            clock_offset_seconds: 0,
            faults: Vec::new(),
        }
    }
}

/// An invalid configuration. The message names the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

const MAX_FILE_BYTES: usize = 1024 * 1024;
