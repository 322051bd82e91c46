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
pub(crate) struct CngProvider {
    container: Container,
    strength: KeyStrength,
}

impl CngProvider {
    /// The providers of Windows, strongest first. `keyguard` names the container of the KeyGuard key (default: MSAL's).
    pub(crate) fn all(api: &Arc<dyn WindowsApi>, keyguard: Option<&str>) -> [Self; 3] {
        [
            Self::keyguard(Arc::clone(api), keyguard),
            Self::platform(Arc::clone(api)),
            Self::software(Arc::clone(api)),
        ]
    }

    /// KeyGuard keys, isolated by virtualization-based security and lost with each boot, in the container
    /// `KeyGuardRSAKey`, which MSAL uses too, or in one of another name. [`open`](KeyProvider::open) rejects
    /// `KeyboundPlatformKey` and `KeyboundSoftwareKey`, the names of the other keys.
    pub(crate) fn keyguard(api: Arc<dyn WindowsApi>, name: Option<&str>) -> Self {
        let info = KeyProvInfo::cng(SOFTWARE_PROVIDER, name.unwrap_or(KEYGUARD_NAME));
        Self::new(api, info, KeyStrength::KeyGuard)
    }

    /// Keys in the TPM, by the Microsoft Platform Crypto Provider.
    pub(crate) fn platform(api: Arc<dyn WindowsApi>) -> Self {
        let info = KeyProvInfo::cng(PLATFORM_PROVIDER, PLATFORM_NAME);
        Self::new(api, info, KeyStrength::Hardware)
    }

    /// Software keys, by the Microsoft Software Key Storage Provider.
    pub(crate) fn software(api: Arc<dyn WindowsApi>) -> Self {
        let info = KeyProvInfo::cng(SOFTWARE_PROVIDER, SOFTWARE_NAME);
        Self::new(api, info, KeyStrength::Software)
    }

    fn new(api: Arc<dyn WindowsApi>, info: KeyProvInfo, strength: KeyStrength) -> Self {
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

/// The providers of [`ProviderChain::platform_named`](crate::ProviderChain::platform_named).
#[cfg(windows)]
pub(crate) fn platform_providers(keyguard: Option<&str>) -> Vec<Arc<dyn KeyProvider>> {
    CngProvider::all(&super::native::api(), keyguard)
        .map(|provider| Arc::new(provider) as _)
        .into()
}

pub(crate) const SOFTWARE_PROVIDER: &str = "Microsoft Software Key Storage Provider";
pub(crate) const PLATFORM_PROVIDER: &str = "Microsoft Platform Crypto Provider";
/// The container of MSAL .NET and MSAL Go, so that the key is shared with them. Certificates are shared with .NET;
/// Go reads only those that name their key as it does: see ADR 15.
const KEYGUARD_NAME: &str = "KeyGuardRSAKey";
const PLATFORM_NAME: &str = "KeyboundPlatformKey";
const SOFTWARE_NAME: &str = "KeyboundSoftwareKey";
