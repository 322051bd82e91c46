use super::ConfigError;
use serde::Deserialize;
use std::path::PathBuf;

/// Azure Arc's agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ArcConfig {
    /// The directory to which the key files of challenges are written, an absolute path. It is created if absent. Azure's client
    /// libraries accept only `/var/opt/azcmagent/tokens` on Linux, and `%ProgramData%\AzureConnectedMachineAgent\Tokens` on
    /// Windows. Default: absent; a temporary directory, which these libraries reject.
    pub tokens_dir: Option<PathBuf>,
    /// The path under which clients find that directory, as challenges name it, where it is mounted elsewhere for them. Default:
    /// absent; `tokens_dir`.
    pub client_tokens_dir: Option<PathBuf>,
    /// Whether the agent supports user-assigned identities. If not, it ignores which identity a request names, as agents before
    /// August 2026 do, and issues a token of the system-assigned one. Default: true.
    pub user_assigned: bool,
}

impl ArcConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let folders = [
            ("arc.tokens_dir", &self.tokens_dir),
            ("arc.client_tokens_dir", &self.client_tokens_dir),
        ];
        for (key, folder) in folders {
            let Some(folder) = folder else { continue };
            // Challenges contain the path in a header.
            let in_header = |text: &str| !text.contains(|c: char| c.is_control() || c == '"');
            if !folder.has_root() || !folder.to_str().is_some_and(in_header) {
                return Err(ConfigError::new(format!(
                    "{key}: an absolute path in UTF-8 without control characters and quotes"
                )));
            }
        }
        if self.client_tokens_dir.is_some() && self.tokens_dir.is_none() {
            return Err(ConfigError::new(
                "arc.client_tokens_dir: requires arc.tokens_dir",
            ));
        }
        Ok(())
    }
}

impl Default for ArcConfig {
    fn default() -> Self {
        Self {
            tokens_dir: None,
            client_tokens_dir: None,
            user_assigned: true,
        }
    }
}
