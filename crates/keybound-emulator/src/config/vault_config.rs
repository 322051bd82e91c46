use super::ConfigError;
use crate::secrets::{MAX_VALUE_BYTES, is_secret_name};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The simulated Key Vault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VaultConfig {
    /// The secrets, by name: 1 to 127 letters, digits and dashes. Default: `demo-secret`.
    pub secrets: BTreeMap<String, String>,
    /// Whether bearer tokens are accepted, as by most vaults; otherwise bound tokens only. Default: true.
    pub bearer_tokens: bool,
}

impl VaultConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let mut names: Vec<_> = self
            .secrets
            .keys()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new(
                "vault.secrets: two names differ only in case, which is ignored",
            ));
        }
        for (name, value) in &self.secrets {
            if !is_secret_name(name) {
                return Err(ConfigError::new(format!(
                    "vault.secrets.{}: a name has 1 to 127 letters, digits and dashes",
                    name.escape_default()
                )));
            }
            if value.len() > MAX_VALUE_BYTES {
                return Err(ConfigError::new(format!(
                    "vault.secrets.{name}: at most 25 KiB"
                )));
            }
        }
        Ok(())
    }
}

impl Default for VaultConfig {
    fn default() -> Self {
        let secret = (
            "demo-secret".into(),
            "only the holder of the key reads this".into(),
        );
        Self {
            secrets: BTreeMap::from([secret]),
            bearer_tokens: true,
        }
    }
}
