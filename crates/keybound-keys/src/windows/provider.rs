use super::container::Container;
use super::key::CngKey;
use super::key_prov_info::{KeyProvInfo, is_container_name, is_same_container};
use super::windows_api::WindowsApi;
use crate::{BindingKey, KeyError, KeyErrorKind, KeyProvider, KeyStrength};
use std::fmt;
use std::sync::Arc;

/// Opens or creates the key of one container in a CNG key storage provider: RSA-2048, not exportable, stored for this account,
/// shared by all processes that open it by its name.
///
/// A key whose material is lost is replaced, under a mutex named for the key. Whenever a key is created, certificates of
/// managed identities that name its container and are for another key are removed from `CurrentUser\My`: their key is lost.
pub struct CngProvider {
    container: Container,
    strength: KeyStrength,
}

impl CngProvider {
    /// KeyGuard keys, isolated by virtualization-based security and lost with each boot, in the container
    /// `KeyGuardRSAKey`, which MSAL uses too, or in one of another name. [`open`](KeyProvider::open) rejects
    /// `KeyboundPlatformKey` and `KeyboundSoftwareKey`, the names of the other keys.
    #[cfg(windows)]
    pub fn keyguard(name: Option<&str>) -> Self {
        Self::keyguard_with_api(super::native::api(), name)
    }

    /// Keys in the TPM, by the Microsoft Platform Crypto Provider.
    #[cfg(windows)]
    pub fn platform() -> Self {
        Self::platform_with_api(super::native::api())
    }

    /// Software keys, by the Microsoft Software Key Storage Provider.
    #[cfg(windows)]
    pub fn software() -> Self {
        Self::software_with_api(super::native::api())
    }

    pub(crate) fn keyguard_with_api(api: Arc<dyn WindowsApi>, name: Option<&str>) -> Self {
        let info = KeyProvInfo::cng(SOFTWARE_PROVIDER, name.unwrap_or(KEYGUARD_NAME));
        Self::with_api(api, info, KeyStrength::KeyGuard)
    }

    pub(crate) fn platform_with_api(api: Arc<dyn WindowsApi>) -> Self {
        let info = KeyProvInfo::cng(PLATFORM_PROVIDER, PLATFORM_NAME);
        Self::with_api(api, info, KeyStrength::Hardware)
    }

    pub(crate) fn software_with_api(api: Arc<dyn WindowsApi>) -> Self {
        let info = KeyProvInfo::cng(SOFTWARE_PROVIDER, SOFTWARE_NAME);
        Self::with_api(api, info, KeyStrength::Software)
    }

    fn with_api(api: Arc<dyn WindowsApi>, info: KeyProvInfo, strength: KeyStrength) -> Self {
        let container = Container {
            api,
            info,
            keyguard: strength == KeyStrength::KeyGuard,
        };
        Self {
            container,
            strength,
        }
    }

    pub(super) fn key_prov_info(&self) -> &KeyProvInfo {
        &self.container.info
    }
}

impl KeyProvider for CngProvider {
    fn strength(&self) -> KeyStrength {
        self.strength
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        let info = self.key_prov_info();
        let name = &info.container;
        if !is_container_name(name) {
            return Err(KeyError::new(
                KeyErrorKind::Failed,
                "the name of a key is one line of at most 260 characters",
            ));
        }
        let is_reserved = [PLATFORM_NAME, SOFTWARE_NAME]
            .iter()
            .any(|reserved| is_same_container(name, reserved));
        if self.container.keyguard && is_reserved {
            return Err(KeyError::new(
                KeyErrorKind::Failed,
                format!(
                    "the KeyGuard key cannot be named {name} (MSAL_MSI_V2_KEY_NAME): that container is for another kind of key, \
                     choose another name"
                ),
            ));
        }
        let opened = self.container.open_or_create()?;
        let key = CngKey::new(opened.key, opened.public_key, self.strength, info.clone());
        Ok(Arc::new(key))
    }
}

impl fmt::Debug for CngProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CngProvider")
            .field("strength", &self.strength)
            .field("name", &self.container.info.container)
            .finish_non_exhaustive()
    }
}

pub(crate) const SOFTWARE_PROVIDER: &str = "Microsoft Software Key Storage Provider";
pub(crate) const PLATFORM_PROVIDER: &str = "Microsoft Platform Crypto Provider";
/// The container of MSAL .NET and MSAL Go, so that the key is shared with them. Certificates are shared with .NET;
/// Go reads only those that name their key as it does: see ADR 15.
const KEYGUARD_NAME: &str = "KeyGuardRSAKey";
const PLATFORM_NAME: &str = "KeyboundPlatformKey";
const SOFTWARE_NAME: &str = "KeyboundSoftwareKey";
