use crate::settings::SharedSettings;
use keybound_core::{ComputeDocument, Error, ErrorKind, KeyStrength, Result, Stage};
use keybound_keys::KeyProvider;

/// The strongest key that the providers of a client have on a host, without opening one.
#[derive(Debug, Default)]
pub(super) struct StrongestKey {
    pub(super) strength: Option<KeyStrength>,
    pub(super) simulated: bool,
    /// Why there is no KeyGuard key.
    pub(super) limit: Option<Error>,
}

impl StrongestKey {
    /// `compute` is what IMDS states about the host; `None` if it was not asked.
    pub(super) fn new(
        settings: &SharedSettings,
        compute: Option<&Result<ComputeDocument>>,
    ) -> Self {
        let mut limit = None;
        for provider in settings.providers.providers() {
            match check(provider, settings, compute) {
                Ok(()) => {
                    let strength = provider.strength();
                    let is_strongest = strength == KeyStrength::KeyGuard;
                    return Self {
                        strength: Some(strength),
                        simulated: provider.is_simulated(),
                        limit: limit.or_else(|| (!is_strongest).then(no_provider_of_keyguard)),
                    };
                }
                Err(error) => {
                    limit.get_or_insert(error);
                }
            }
        }
        Self {
            limit: Some(limit.unwrap_or_else(no_provider)),
            ..Self::default()
        }
    }
}

/// Checks that the host can have the keys of a provider, as far as that is known without opening one.
fn check(
    provider: &dyn KeyProvider,
    settings: &SharedSettings,
    compute: Option<&Result<ComputeDocument>>,
) -> Result<()> {
    if provider.is_simulated() {
        return match settings.allows_simulated_keys() {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::SimulatedNotAllowed,
                Stage::Key,
                "a simulated key was provided outside the emulator",
            )),
        };
    }
    match provider.strength() {
        KeyStrength::KeyGuard => known(compute)?.check_keyguard(),
        // A caller's provider may have other hardware.
        KeyStrength::Hardware if settings.providers.is_platform() => {
            match known(compute)?.security.virtual_tpm {
                Some(true) => Ok(()),
                _ => Err(Error::new(
                    ErrorKind::KeyUnavailable,
                    Stage::Key,
                    "the virtual machine reports no virtual TPM",
                )),
            }
        }
        _ => Ok(()),
    }
}

fn known(compute: Option<&Result<ComputeDocument>>) -> Result<&ComputeDocument> {
    match compute {
        Some(document) => document.as_ref().map_err(Clone::clone),
        None => Err(Error::new(
            ErrorKind::KeyIsolationUnavailable,
            Stage::Key,
            "the security settings of this host are not known",
        )),
    }
}

fn no_provider_of_keyguard() -> Error {
    Error::new(
        ErrorKind::KeyTooWeak,
        Stage::Key,
        "no key provider of this client has KeyGuard keys, which exist on Windows only",
    )
}

fn no_provider() -> Error {
    Error::new(
        ErrorKind::KeyUnavailable,
        Stage::Key,
        "no provider offers a binding key on this host",
    )
}
