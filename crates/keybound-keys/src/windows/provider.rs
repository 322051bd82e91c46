use super::container::Container;
use super::key::CngKey;
use super::names::{is_key_name, is_same_key_name};
use super::ncrypt_api::{NcryptApi, PER_BOOT, VIRTUAL_ISOLATION};
use crate::{BindingKey, KeyError, KeyErrorKind, KeyProvider, KeyStrength};
use std::fmt;
use std::sync::Arc;

/// Opens the key of one name in one key storage provider of Windows, or makes it: RSA-2048, never to be exported, kept by
/// Windows for this user, shared by all processes that open it by its name.
///
/// A key that is there by name and signs no longer is replaced by a new one, under a mutex named for the key. Whenever a key
/// is made, the certificates of managed identities that name its container and are for another key, which is lost, are
/// removed from `CurrentUser\My`.
pub struct CngProvider {
    api: Arc<dyn NcryptApi>,
    container: Container,
    strength: KeyStrength,
}

impl CngProvider {
    /// KeyGuard keys, isolated by virtualization-based security and lost with each boot, in the container
    /// `KeyGuardRSAKey` that MSAL uses too, or in one of another name. `KeyboundPlatformKey` and `KeyboundSoftwareKey`, which
    /// are the names of the other keys, are refused when it is opened.
    #[cfg(windows)]
    pub fn keyguard(name: Option<&str>) -> Self {
        Self::keyguard_over(super::native::api(), name)
    }

    /// Keys in the TPM, by the Microsoft Platform Crypto Provider.
    #[cfg(windows)]
    pub fn platform() -> Self {
        Self::platform_over(super::native::api())
    }

    /// Keys kept by Windows in software.
    #[cfg(windows)]
    pub fn software() -> Self {
        Self::software_over(super::native::api())
    }

    pub(crate) fn keyguard_over(api: Arc<dyn NcryptApi>, name: Option<&str>) -> Self {
        let container = Container {
            provider: SOFTWARE_PROVIDER,
            name: name.unwrap_or(KEYGUARD_NAME).to_owned(),
            flags: VIRTUAL_ISOLATION | PER_BOOT,
            isolated: true,
        };
        Self {
            api,
            container,
            strength: KeyStrength::KeyGuard,
        }
    }

    pub(crate) fn platform_over(api: Arc<dyn NcryptApi>) -> Self {
        Self::plain(api, PLATFORM_PROVIDER, PLATFORM_NAME, KeyStrength::Hardware)
    }

    pub(crate) fn software_over(api: Arc<dyn NcryptApi>) -> Self {
        Self::plain(api, SOFTWARE_PROVIDER, SOFTWARE_NAME, KeyStrength::Software)
    }

    fn plain(
        api: Arc<dyn NcryptApi>,
        provider: &'static str,
        name: &str,
        strength: KeyStrength,
    ) -> Self {
        let container = Container {
            provider,
            name: name.to_owned(),
            flags: 0,
            isolated: false,
        };
        Self {
            api,
            container,
            strength,
        }
    }
}

impl CngProvider {
    /// The container that it opens.
    pub fn key_name(&self) -> &str {
        &self.container.name
    }
}

impl KeyProvider for CngProvider {
    fn strength(&self) -> KeyStrength {
        self.strength
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        if !is_key_name(&self.container.name) {
            return Err(KeyError::new(
                KeyErrorKind::Failed,
                "the name of a key is one line of at most 260 characters",
            ));
        }
        if self.container.isolated && is_name_of_another(&self.container.name) {
            return Err(KeyError::new(
                KeyErrorKind::Failed,
                format!(
                    "MSAL_MSI_V2_KEY_NAME, or whatever names the KeyGuard key, says {}: that container is for another kind of \
                     key, choose another name",
                    self.container.name
                ),
            ));
        }
        let opened = self.container.open_or_create(&self.api)?;
        let place = self.container.place();
        let key = CngKey::new(opened.key, opened.public_key, self.strength, place);
        Ok(Arc::new(key))
    }
}

impl fmt::Debug for CngProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CngProvider")
            .field("strength", &self.strength)
            .field("name", &self.container.name)
            .finish_non_exhaustive()
    }
}

/// Whether the name is taken by keys that are no KeyGuard keys.
fn is_name_of_another(name: &str) -> bool {
    [PLATFORM_NAME, SOFTWARE_NAME]
        .iter()
        .any(|taken| is_same_key_name(name, taken))
}

/// The provider that keeps the key of this name, for those that [`CngProvider`] opens.
pub(crate) fn provider_of(name: &str) -> &'static str {
    match name {
        PLATFORM_NAME => PLATFORM_PROVIDER,
        _ => SOFTWARE_PROVIDER,
    }
}

pub(crate) const SOFTWARE_PROVIDER: &str = "Microsoft Software Key Storage Provider";
pub(crate) const PLATFORM_PROVIDER: &str = "Microsoft Platform Crypto Provider";
/// The container that MSAL .NET and MSAL Go use, so that the key is shared with them. Certificates are shared with .NET;
/// Go reads none but those that name their key as it does: see ADR 15.
const KEYGUARD_NAME: &str = "KeyGuardRSAKey";
const PLATFORM_NAME: &str = "KeyboundPlatformKey";
const SOFTWARE_NAME: &str = "KeyboundSoftwareKey";
