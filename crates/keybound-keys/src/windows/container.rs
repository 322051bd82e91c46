//! A named key of the host: opened where it is there, created where it is not, replaced where its material is lost.
use super::checks;
use super::handle::{Key, Provider};
use super::msal_certificate_cache::KeyPlace;
use super::names::MutexName;
use super::ncrypt_api::{
    Lock, MACHINE, NcryptApi, OVERWRITE, PER_BOOT, Property, SIGN_AND_DECRYPT,
};
use super::status::{Status, Step};
use crate::rsa_blob::{bits, public_key_info};
use crate::{KeyError, KeyErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// Which key: where it is kept, its name, and how it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) provider: &'static str,
    pub(crate) name: String,
    /// With which it is made, beside those that every key is made with.
    pub(crate) flags: u32,
    /// Whether it has to be isolated by virtualization-based security.
    pub(crate) isolated: bool,
}

/// An open key that has just signed, and its public half.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) key: Key,
    /// SubjectPublicKeyInfo in DER.
    pub(crate) public_key: Vec<u8>,
}

impl Container {
    /// Opens the key, or makes it. Two processes that do so at once end with the same key.
    pub(crate) fn open_or_create(&self, api: &Arc<dyn NcryptApi>) -> Result<Opened, KeyError> {
        let provider = Provider::open(api, self.provider)
            .map_err(|status| self.error(Step::OpenProvider, status))?;
        let key = match provider.open_key(&self.name, 0) {
            Ok(key) => Some(key),
            Err(status) if status.is_not_found() => match self.create(&provider, 0) {
                Ok(opened) => {
                    let opened = self.check_new(opened)?;
                    // Certificates of a key that was there by this name once may still be there.
                    api.purge_certificates(&self.place(), &opened.public_key);
                    return Ok(opened);
                }
                Err(Creation::Exists) => self.open_again(&provider)?,
                Err(Creation::Failed(error)) => return Err(error),
            },
            Err(status) => return Err(self.error(Step::Open, status)),
        };
        match key.map(|key| self.living(key)).transpose()?.flatten() {
            Some(opened) => self.check_old(opened),
            None => self.recreate(api, &provider),
        }
    }

    /// After somebody else made it, or where only its name is left (`None`).
    fn open_again(&self, provider: &Arc<Provider>) -> Result<Option<Key>, KeyError> {
        tracing::debug!("a key of this name is there already: it is opened again");
        match provider.open_key(&self.name, 0) {
            Ok(key) => Ok(Some(key)),
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(self.error(Step::Open, status)),
        }
    }

    /// The key, where it signs. `None` where it does not: its material is lost, as that of a KeyGuard key with every boot.
    ///
    /// Every other failure, a key that is not RSA-2048, and one that signs for another public key than its own are errors:
    /// such a key must not be overwritten.
    fn living(&self, key: Key) -> Result<Option<Opened>, KeyError> {
        let signature = match checks::sign(&key) {
            Ok(signature) => signature,
            Err(status) if !self.is_lost(status) => return Err(self.error(Step::Sign, status)),
            Err(status) => {
                check_kind(&key)?;
                tracing::warn!(%status, "the key is there by name and does not sign");
                return Ok(None);
            }
        };
        let public_key = self.public_key(&key)?;
        checks::check_signature(&public_key, &signature)?;
        Ok(Some(Opened { key, public_key }))
    }

    /// Whether a signature that fails with this status shows that the key's material is lost. With which statuses CNG reports
    /// a per-boot key of an earlier boot is not documented: for such a key alone, a status of CNG's own that is neither known
    /// as a loss nor as passing counts as one.
    fn is_lost(&self, status: Status) -> bool {
        let is_per_boot = self.flags & PER_BOOT != 0;
        status.is_loss() || (is_per_boot && !status.is_passing())
    }

    fn public_key(&self, key: &Key) -> Result<Vec<u8>, KeyError> {
        let blob = key
            .export_public()
            .map_err(|status| self.error(Step::Export, status))?;
        public_key_info(&blob).ok_or_else(not_rsa_2048)
    }

    fn create(&self, provider: &Arc<Provider>, flags: u32) -> Result<Opened, Creation> {
        let failed = |status| match status {
            Status::EXISTS => Creation::Exists,
            status => Creation::Failed(self.error(Step::Create, status)),
        };
        let key = provider
            .create_key(&self.name, self.flags | flags)
            .map_err(failed)?;
        for (property, value) in [
            (Property::Length, 2048),
            (Property::ExportPolicy, 0),
            (Property::KeyUsage, SIGN_AND_DECRYPT),
        ] {
            key.set(property, value).map_err(failed)?;
        }
        key.finalize().map_err(failed)?;
        let public_key = self.public_key(&key).map_err(Creation::Failed)?;
        Ok(Opened { key, public_key })
    }

    /// A key that was just made here. One that is not what was asked for is not left behind.
    fn check_new(&self, opened: Opened) -> Result<Opened, KeyError> {
        let refused = match self.refusal(&opened.key) {
            Ok(None) => {
                return self.living(opened.key)?.ok_or_else(|| {
                    KeyError::new(
                        KeyErrorKind::Failed,
                        "a key that was just made does not sign",
                    )
                });
            }
            Ok(Some(Refusal::NotIsolated)) => self.error(Step::Create, Status::NO_KEYGUARD),
            Ok(Some(Refusal::Exportable)) => self.exportable(),
            Err(error) => error,
        };
        if let Err(status) = opened.key.delete() {
            tracing::warn!(%status, "a key that is of no use could not be removed");
        }
        Err(refused)
    }

    /// A key that was there before.
    fn check_old(&self, opened: Opened) -> Result<Opened, KeyError> {
        match self.refusal(&opened.key)? {
            None => Ok(opened),
            Some(Refusal::Exportable) => Err(self.exportable()),
            Some(Refusal::NotIsolated) => Err(KeyError::new(
                KeyErrorKind::NotIsolated,
                format!(
                    "the key {} is not isolated by virtualization-based security: remove it by `{}`, or name another key by \
                     MSAL_MSI_V2_KEY_NAME",
                    self.name,
                    self.removal()
                ),
            )),
        }
    }

    fn exportable(&self) -> KeyError {
        KeyError::new(
            KeyErrorKind::Failed,
            format!(
                "the key {} may be exported from its provider, so that it binds nothing: remove it by `{}`",
                self.name,
                self.removal()
            ),
        )
    }

    /// The command that removes the key.
    fn removal(&self) -> String {
        format!(
            r#"certutil -user -csp "{}" -delkey "{}""#,
            self.provider, self.name
        )
    }

    fn refusal(&self, key: &Key) -> Result<Option<Refusal>, KeyError> {
        if self.isolated && !checks::is_isolated(key)? {
            return Ok(Some(Refusal::NotIsolated));
        }
        Ok(checks::is_exportable(key)?.then_some(Refusal::Exportable))
    }

    /// Puts a new key in the place of one that does not sign. The processes of this account do this one after the other, and
    /// a later caller finds the new key. A mutex that is not acquired delays this and does not stop it: other programs
    /// overwrite keys without it, so that correctness does not rest on it.
    fn recreate(
        &self,
        api: &Arc<dyn NcryptApi>,
        provider: &Arc<Provider>,
    ) -> Result<Opened, KeyError> {
        let lock = api.lock(&MutexName::of_key(&self.name), LONGEST_WAIT);
        if !matches!(lock, Lock::Held(_)) {
            // Safe, since what is below opens the key again before and after, and compares.
            tracing::warn!("the mutex of the key was not acquired: the key is checked without it");
        }
        if let Some(key) = self.open_again(provider)?
            && let Some(opened) = self.living(key)?
        {
            return self.check_old(opened);
        }
        tracing::warn!("the key's material is lost: a new key takes its place");
        let made = match self.create(provider, OVERWRITE) {
            Ok(opened) => self.check_new(opened)?,
            Err(Creation::Failed(error)) => return Err(error),
            Err(Creation::Exists) => return Err(self.error(Step::Create, Status::EXISTS)),
        };
        // Others than we may overwrite without a mutex: what is in the container is what everybody uses.
        let kept = provider
            .open_key(&self.name, 0)
            .map_err(|status| self.error(Step::Open, status))?;
        let kept = self.living(kept)?.ok_or_else(|| {
            KeyError::new(
                KeyErrorKind::Failed,
                "a key that was just made does not sign",
            )
        })?;
        if kept.public_key != made.public_key {
            tracing::warn!("another process replaced the key at the same time: its key is used");
        }
        api.purge_certificates(&self.place(), &kept.public_key);
        self.check_old(kept)
    }

    /// Where certificates say that the key is.
    pub(crate) fn place(&self) -> KeyPlace {
        KeyPlace {
            provider: self.provider.to_owned(),
            name: self.name.clone(),
            machine: false,
            legacy: false,
        }
    }

    fn error(&self, step: Step, status: Status) -> KeyError {
        step.error(status, self.isolated)
    }
}

/// Whether another key than this one is in the place, or none. False where that is unknown.
pub(crate) fn is_replaced(api: &Arc<dyn NcryptApi>, place: &KeyPlace, public_key: &[u8]) -> bool {
    let flags = if place.machine { MACHINE } else { 0 };
    let opened =
        Provider::open(api, &place.provider).map(|provider| provider.open_key(&place.name, flags));
    match opened {
        Ok(Ok(key)) => key
            .export_public()
            .is_ok_and(|blob| public_key_info(&blob).as_deref() != Some(public_key)),
        Ok(Err(status)) => status.is_not_found(),
        Err(_) => false,
    }
}

/// Why a key could not be made.
enum Creation {
    Exists,
    Failed(KeyError),
}

/// Why a key that is there is not used.
enum Refusal {
    NotIsolated,
    Exportable,
}

/// Refuses a key that is reported to be of another kind than RSA-2048. What is not reported refuses nothing: of a key whose material is
/// lost, its properties may be gone too.
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

/// In UTF-16, little-endian.
const RSA: &[u8] = b"R\0S\0A\0";
/// Making a key takes a second or two on slow hosts.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
