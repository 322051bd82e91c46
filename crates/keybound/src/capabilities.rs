//! What a host can do: [`ManagedIdentityClient::capabilities`](crate::ManagedIdentityClient::capabilities).
mod strongest_key;

pub use keybound_core::source::SourceReason;
pub use keybound_core::{OperatingSystem, SecurityProfile, SecurityType};

use crate::acquire::HostFacts;
use crate::attestor::Attestor;
use crate::settings::Settings;
use crate::{Error, ErrorKind, KeyStrength, ManagedIdentitySource, Result, Stage};
use std::path::PathBuf;
use strongest_key::StrongestKey;

/// What this host can do for a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// The managed identity source.
    pub source: ManagedIdentitySource,
    /// Why it is the source.
    pub source_reason: SourceReason,
    /// The error of every token request to it, if a variable of the source is missing or malformed.
    pub source_error: Option<Error>,
    /// The versions of IMDS; `None` if another source is used.
    pub imds: Option<ImdsVersions>,
    /// Whether `MSAL_MI_DISABLE_IMDS_V2` disables managed identity v2: nothing is then bound.
    pub imds_v2_disabled: bool,
    /// The operating system: as IMDS states it, otherwise that of this program.
    pub operating_system: OperatingSystem,
    /// The security settings of the virtual machine, as IMDS states them; `None` if it did not.
    pub security: Option<SecurityProfile>,
    /// Why IMDS did not state operating system and security settings, if it was asked.
    pub security_error: Option<Error>,
    /// The strongest binding key that this host is known to have, whether or not tokens can be bound to it. No key was opened: a
    /// KeyGuard key is what the security settings allow, and other keys are what the key providers state.
    pub strongest_key: Option<KeyStrength>,
    /// Whether that key is simulated.
    pub simulated_key: bool,
    /// The strongest binding of a token: the strength of the key that a certificate can be requested for. `None` if this host
    /// issues plain bearer tokens only, or no tokens.
    ///
    /// IMDS may reject certificates for weaker keys than attested KeyGuard keys, which only a token request shows.
    pub strongest_binding: Option<KeyStrength>,
    /// Why there is no stronger binding: the error of a request for one. `None` if it is KeyGuard.
    pub why_not_stronger: Option<Error>,
    /// The attestation of keys.
    pub attestation: AttestationSupport,
}

/// The versions of IMDS.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImdsVersions {
    /// Whether it issues plain bearer tokens; `None` if that is not known.
    pub v1: Option<bool>,
    /// Whether it issues certificates; `None` if that is not known, or managed identity v2 is disabled.
    pub v2: Option<bool>,
    /// Why a version is not known.
    pub error: Option<Error>,
}

/// Whether keys can be attested.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttestationSupport {
    /// The client has no attestation provider; there is none by default on other platforms than Windows.
    None,
    /// By a provider of the caller that calls no native library.
    Provider,
    /// Simulated keys only.
    Simulated,
    /// By the native library in this file. Whether it can be used is not checked:
    /// [`NativeAttestation::probe`](crate::attestation::native::NativeAttestation::probe) does that.
    Library(PathBuf),
    /// The native library was not found.
    NoLibrary(Error),
}

impl Capabilities {
    pub(crate) fn new(settings: &Settings, facts: &HostFacts) -> Self {
        let shared = &settings.shared;
        let document = facts.compute.as_ref();
        let compute = document.and_then(|document| document.as_ref().ok());
        let key = StrongestKey::new(shared, document);
        let issues = check_issues_certificates(settings, facts, &key);
        Self {
            source: shared.source.kind(),
            source_reason: shared.source.reason(),
            source_error: shared.source.endpoint().err(),
            imds: facts.imds.clone(),
            imds_v2_disabled: settings.imds_v2_disabled,
            operating_system: compute.map_or_else(OperatingSystem::of_program, |compute| {
                compute.operating_system
            }),
            security: compute.map(|compute| compute.security.clone()),
            security_error: document.and_then(|document| document.clone().err()),
            strongest_key: key.strength,
            simulated_key: key.simulated,
            strongest_binding: key.strength.filter(|_| issues.is_ok()),
            why_not_stronger: issues.err().or(key.limit),
            attestation: AttestationSupport::new(shared.attestation.as_ref(), facts),
        }
    }
}

/// Checks that certificates can be requested on this host.
fn check_issues_certificates(
    settings: &Settings,
    facts: &HostFacts,
    key: &StrongestKey,
) -> Result<()> {
    settings.check_issues_certificates()?;
    settings.check_v2_enabled()?;
    let imds = facts.imds.as_ref();
    let failure = imds.and_then(|imds| imds.error.clone());
    match (imds.and_then(|imds| imds.v2), failure) {
        (Some(true), _) => Ok(()),
        (Some(false), _) if key.strength == Some(KeyStrength::KeyGuard) => {
            Err(Error::imds_v2_unavailable().with_next_step(V1_WITH_KEYGUARD))
        }
        (Some(false), _) => Err(Error::imds_v2_unavailable()),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::new(
            ErrorKind::Unreachable,
            Stage::Metadata,
            "IMDS was not asked whether it supports v2",
        )),
    }
}

const V1_WITH_KEYGUARD: &str = "this virtual machine can have KeyGuard keys, but its IMDS has v1 only: use a region where managed identity v2 is on; there is no fallback to an unbound token";

impl AttestationSupport {
    /// The stable name in results: `none`, `provider`, …
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Provider => "provider",
            Self::Simulated => "simulated",
            Self::Library(_) => "library",
            Self::NoLibrary(_) => "no_library",
        }
    }

    fn new(attestor: Option<&Attestor>, facts: &HostFacts) -> Self {
        match (attestor, &facts.library) {
            (None, _) => Self::None,
            (Some(attestor), _) if attestor.provider().is_simulated() => Self::Simulated,
            (_, Some(Ok(path))) => Self::Library(path.clone()),
            (_, Some(Err(error))) => Self::NoLibrary(error.clone()),
            (_, None) => Self::Provider,
        }
    }
}
