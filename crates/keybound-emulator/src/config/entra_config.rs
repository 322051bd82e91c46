use super::ConfigError;
use super::lifetime::{DAY, YEAR, check_lifetime};
use serde::Deserialize;

/// Entra's token endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EntraConfig {
    /// Lifetime of the tokens, in seconds: 1 minute to 1 year. Default: 86399.
    pub token_lifetime_seconds: u32,
    /// `refresh_in` of the responses, in seconds: shorter than the lifetime. Default: absent; omitted from the responses.
    pub refresh_in_seconds: Option<u32>,
    /// Resources that do not accept bound tokens: AADSTS392196. Default: `https://management.azure.com`.
    pub unbound_resources: Vec<String>,
    /// Whether the tenant may request bound tokens; otherwise Entra responds with AADSTS3921996. Default: true.
    pub bound_tokens_allowed: bool,
}

impl EntraConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let life = self.token_lifetime_seconds;
        if self.refresh_in_seconds.is_some_and(|ahead| ahead >= life) {
            return Err(ConfigError::new(
                "entra.refresh_in_seconds: must be shorter than token_lifetime_seconds",
            ));
        }
        check_lifetime("entra.token_lifetime_seconds", life, YEAR)
    }
}

impl Default for EntraConfig {
    fn default() -> Self {
        Self {
            token_lifetime_seconds: DAY - 1,
            refresh_in_seconds: None,
            unbound_resources: vec!["https://management.azure.com".into()],
            bound_tokens_allowed: true,
        }
    }
}
