//! A named key of the host: opened if it exists, created if it does not, replaced if its material is lost.
use super::certificate_store::CertificateStore;
use super::checks;
use super::handle::{Key, Provider};
use super::key_prov_info::KeyProvInfo;
use super::mutex_name::MutexName;
use super::status::{Status, Step};
use super::store_path::StorePath;
use super::windows_api::{
    Lock, OVERWRITE, PER_BOOT, Property, SIGN_AND_DECRYPT, VIRTUAL_ISOLATION, WindowsApi,
};
use crate::rsa_blob::{bits, public_key_info};
use crate::verify::check_self_test;
use crate::{KeyError, KeyErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// A key container of this account, and how its key is created.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) api: Arc<dyn WindowsApi>,
    pub(crate) info: KeyProvInfo,
    /// Whether the key is a KeyGuard key: isolated by virtualization-based security, and lost with each boot.
    pub(crate) keyguard: bool,
}

/// An open key that has just signed, and its public key.
#[derive(Debug)]
pub(crate) struct OpenedKey {
    pub(crate) key: Key,
    /// SubjectPublicKeyInfo in DER.
    pub(crate) public_key: Vec<u8>,
}

impl Container {
    /// Opens or creates the key. Two processes that do so at the same time get the same key.
    pub(crate) fn open_or_create(&self) -> Result<OpenedKey, KeyError> {
        let provider = Provider::open(&self.api, &self.info.provider)
            .map_err(|status| self.error(Step::OpenProvider, status))?;
        let key = match self.open(&provider)? {
            Some(key) => Some(key),
            None => match self.create(&provider, 0) {
                Ok(opened) => {
                    let opened = self.check_new(opened)?;
                    // An earlier key of this name may have left certificates.
                    self.remove_certificates_of_lost_keys(&opened.public_key);
                    return Ok(opened);
                }
                Err(CreateError::Exists) => {
                    tracing::debug!("another process created the key: opening it");
                    self.open(&provider)?
                }
                Err(CreateError::Failed(error)) => return Err(error),
            },
        };
        match key.map(|key| self.usable(key)).transpose()?.flatten() {
            Some(opened) => self.check_existing(opened),
            None => self.replace(&provider),
        }
    }

    /// Opens the key. `None` if it does not exist, or only its name does.
    fn open(&self, provider: &Arc<Provider>) -> Result<Option<Key>, KeyError> {
        match provider.open_key(&self.info.container, 0) {
            Ok(key) => Ok(Some(key)),
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(self.error(Step::Open, status)),
        }
    }

    /// Returns the key if it signs. `None` if its material is lost, as that of a KeyGuard key is with every boot.
    ///
    /// Every other failure, a key that is not RSA-2048, and a signature that its own public key does not verify are errors:
    /// such a key must not be overwritten.
    fn usable(&self, key: Key) -> Result<Option<OpenedKey>, KeyError> {
        let signature = match checks::sign(&key) {
            Ok(signature) => signature,
            Err(status) if !self.is_lost(status) => return Err(self.error(Step::Sign, status)),
            Err(status) => {
                check_kind(&key)?;
                tracing::warn!(%status, "the key exists by name and does not sign");
                return Ok(None);
            }
        };
        let public_key = self.public_key(&key)?;
        check_self_test(&public_key, &signature)?;
        Ok(Some(OpenedKey { key, public_key }))
    }

    /// Whether a signature that fails with this status shows that the key's material is lost. The statuses with which CNG
    /// reports a per-boot key of an earlier boot are not documented: for such a key alone, an unknown status of CNG itself
    /// counts as a loss.
    fn is_lost(&self, status: Status) -> bool {
        status.is_loss() || (self.keyguard && !status.is_temporary())
    }

    fn public_key(&self, key: &Key) -> Result<Vec<u8>, KeyError> {
        let blob = key
            .export_public()
            .map_err(|status| self.error(Step::Export, status))?;
        public_key_info(&blob).ok_or_else(not_rsa_2048)
    }

    fn create(&self, provider: &Arc<Provider>, flags: u32) -> Result<OpenedKey, CreateError> {
        let failed = |status| match status {
            Status::EXISTS => CreateError::Exists,
            status => CreateError::Failed(self.error(Step::Create, status)),
        };
        let isolation = if self.keyguard {
            VIRTUAL_ISOLATION | PER_BOOT
        } else {
            0
        };
        let key = provider
            .create_key(&self.info.container, isolation | flags)
            .map_err(failed)?;
        for (property, value) in [
            (Property::Length, 2048),
            (Property::ExportPolicy, 0),
            (Property::KeyUsage, SIGN_AND_DECRYPT),
        ] {
            key.set(property, value).map_err(failed)?;
        }
        key.finalize().map_err(failed)?;
        let public_key = self.public_key(&key).map_err(CreateError::Failed)?;
        Ok(OpenedKey { key, public_key })
    }

    /// Checks a key that was just created here. One that does not meet the requirements is deleted.
    fn check_new(&self, opened: OpenedKey) -> Result<OpenedKey, KeyError> {
        let error = match self.violation(&opened.key) {
            Ok(None) => return self.usable(opened.key)?.ok_or_else(new_key_does_not_sign),
            Ok(Some(Violation::NotIsolated)) => self.error(Step::Create, Status::NO_KEYGUARD),
            Ok(Some(Violation::Exportable)) => self.exportable(),
            Err(error) => error,
        };
        if let Err(status) = opened.key.delete() {
            tracing::warn!(%status, "an unusable new key could not be deleted");
        }
        Err(error)
    }

    /// Checks a key that existed before.
    fn check_existing(&self, opened: OpenedKey) -> Result<OpenedKey, KeyError> {
        match self.violation(&opened.key)? {
            None => Ok(opened),
            Some(Violation::Exportable) => Err(self.exportable()),
            Some(Violation::NotIsolated) => Err(KeyError::new(
                KeyErrorKind::NotIsolated,
                format!(
                    "the key {} is not isolated by virtualization-based security: remove it by `{}`, or name another key by \
                     MSAL_MSI_V2_KEY_NAME",
                    self.info.container,
                    self.delete_command()
                ),
            )),
        }
    }

    fn exportable(&self) -> KeyError {
        KeyError::new(
            KeyErrorKind::Failed,
            format!(
                "the key {} may be exported from its provider, so it binds nothing: remove it by `{}`",
                self.info.container,
                self.delete_command()
            ),
        )
    }

    fn delete_command(&self) -> String {
        format!(
            r#"certutil -user -csp "{}" -delkey "{}""#,
            self.info.provider, self.info.container
        )
    }

    fn violation(&self, key: &Key) -> Result<Option<Violation>, KeyError> {
        if self.keyguard && !checks::is_isolated(key)? {
            return Ok(Some(Violation::NotIsolated));
        }
        Ok(checks::is_exportable(key)?.then_some(Violation::Exportable))
    }

    /// Replaces a key whose material is lost. The processes of this account do this one after the other, and a later one
    /// finds the new key. A mutex that is not acquired delays this and does not prevent it: other programs overwrite keys
    /// without it, so correctness does not depend on it.
    fn replace(&self, provider: &Arc<Provider>) -> Result<OpenedKey, KeyError> {
        let name = MutexName::of_key(&self.info.container);
        let lock = self.api.lock(&name, LOCK_TIMEOUT);
        if !matches!(lock, Lock::Held(_)) {
            // Safe: the key is opened again before and after, and the public keys are compared.
            tracing::warn!("the mutex of the key was not acquired: continuing without it");
        }
        if let Some(key) = self.open(provider)?
            && let Some(opened) = self.usable(key)?
        {
            return self.check_existing(opened);
        }
        tracing::warn!("the key's material is lost: creating a new key in its place");
        let new = match self.create(provider, OVERWRITE) {
            Ok(opened) => self.check_new(opened)?,
            Err(CreateError::Failed(error)) => return Err(error),
            Err(CreateError::Exists) => return Err(self.error(Step::Create, Status::EXISTS)),
        };
        // Other programs may overwrite the key without the mutex; all use the key that is in the container.
        let current = provider
            .open_key(&self.info.container, 0)
            .map_err(|status| self.error(Step::Open, status))?;
        let current = self.usable(current)?.ok_or_else(new_key_does_not_sign)?;
        if current.public_key != new.public_key {
            tracing::warn!("another process replaced the key at the same time: using its key");
        }
        self.remove_certificates_of_lost_keys(&current.public_key);
        self.check_existing(current)
    }

    fn remove_certificates_of_lost_keys(&self, public_key: &[u8]) {
        let store = CertificateStore {
            api: Arc::clone(&self.api),
            path: StorePath::current_user_my(),
        };
        store.remove_of_lost_keys(&self.info, public_key);
    }

    fn error(&self, step: Step, status: Status) -> KeyError {
        step.error(status, self.keyguard)
    }
}

/// Why a key was not created.
enum CreateError {
    Exists,
    Failed(KeyError),
}

/// The requirement that a key does not meet.
enum Violation {
    NotIsolated,
    Exportable,
}

/// Rejects a key that is reported to be of another kind than RSA-2048. A property that cannot be read does not matter: those
/// of a lost key may be gone, too.
fn check_kind(key: &Key) -> Result<(), KeyError> {
    let is_other_group = key
        .get(Property::AlgorithmGroup)
        .is_ok_and(|group| group.strip_suffix(&[0, 0]).unwrap_or(&group) != RSA);
    let is_other_length = key
        .export_public()
        .is_ok_and(|blob| bits(&blob).is_some_and(|bits| bits != 2048));
    if is_other_group || is_other_length {
        return Err(not_rsa_2048());
    }
    Ok(())
}

fn not_rsa_2048() -> KeyError {
    KeyError::new(KeyErrorKind::Failed, "the key is not RSA-2048")
}

fn new_key_does_not_sign() -> KeyError {
    KeyError::new(
        KeyErrorKind::Failed,
        "a key that was just created does not sign",
    )
}

/// In UTF-16, little-endian.
const RSA: &[u8] = b"R\0S\0A\0";
/// Creating a key takes a second or two on slow hosts.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);
