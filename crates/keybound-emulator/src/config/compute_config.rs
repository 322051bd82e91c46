use super::ConfigError;
use serde::Deserialize;

/// The virtual machine in instance metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ComputeConfig {
    /// The operating system. Default: Windows.
    pub os_type: OsType,
    /// The security type, such as `TrustedLaunch` (the default) or `ConfidentialVM`. Empty: omitted from the metadata.
    pub security_type: String,
    /// Whether secure boot is on. Default: true.
    pub secure_boot_enabled: bool,
    /// Whether there is a virtual TPM. Default: true.
    pub virtual_tpm_enabled: bool,
}

impl ComputeConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        if self.security_type.len() > 64 || !self.security_type.bytes().all(plain) {
            return Err(ConfigError::new(
                "compute.security_type: at most 64 letters and digits, as in TrustedLaunch",
            ));
        }
        Ok(())
    }
}

impl Default for ComputeConfig {
    fn default() -> Self {
        Self {
            os_type: OsType::Windows,
            security_type: "TrustedLaunch".into(),
            secure_boot_enabled: true,
            virtual_tpm_enabled: true,
        }
    }
}

/// An operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum OsType {
    /// `Windows`
    Windows,
    /// `Linux`
    Linux,
}

impl OsType {
    /// The value of `osType` in the metadata.
    pub(crate) fn wire_name(self) -> &'static str {
        match self {
            Self::Windows => "Windows",
            Self::Linux => "Linux",
        }
    }
}
