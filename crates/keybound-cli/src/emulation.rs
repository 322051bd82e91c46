//! The program's use of the emulator: its start, simulated keys and attestation, and the environment of `emulator --exec`.
use crate::failure::Failure;
use keybound::keys::ProviderChain;
use keybound::tls::TrustAnchors;
use keybound::{ManagedIdentityClientBuilder, ManagedIdentitySource};
use keybound_emulator::{Config, Emulator, SimulatedAttestation, SimulatedKeyProvider, StartError};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use url::Url;

/// Starts an emulator; its CA is stored in `state_dir`, if any.
///
/// # Errors
/// [`Failure::Usage`] if the configuration contradicts itself, [`Failure::Host`] for anything else.
pub(crate) fn start(config: Config, state_dir: Option<&Path>) -> Result<Emulator, Failure> {
    let builder = Emulator::builder().config(config);
    let builder = match state_dir {
        Some(folder) => builder.state_dir(folder),
        None => builder,
    };
    builder.start().map_err(|error| match error {
        StartError::Config(error) => Failure::Usage(error.to_string()),
        error => Failure::Host(with_causes(&error)),
    })
}

/// Configures simulated keys and their attestation, which the library accepts only with an emulator.
///
/// # Errors
/// If the host's OpenSSL configuration does not allow it.
pub(crate) fn simulate(
    builder: ManagedIdentityClientBuilder,
    trust: TrustAnchors,
) -> keybound::Result<ManagedIdentityClientBuilder> {
    let attestation = SimulatedAttestation::new(trust)?;
    // Whatever the variables of the host say: only IMDS issues certificates.
    Ok(builder
        .managed_identity_source(ManagedIdentitySource::Imds)
        .key_providers(key_providers())
        .attestation(Arc::new(attestation)))
}

/// The providers of simulated keys.
pub(crate) fn key_providers() -> ProviderChain {
    ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())])
}

/// The origin of the emulator's simulated Graph, if `emulator --exec` runs this program.
pub(crate) fn graph_origin() -> Option<String> {
    origin(GRAPH_VARIABLE)
}

/// The origin of the emulator's simulated Key Vault, if `emulator --exec` runs this program.
pub(crate) fn vault_origin() -> Option<String> {
    origin(VAULT_VARIABLE)
}

/// The emulator's token service, if `emulator --exec` runs this program.
pub(crate) fn token_endpoint() -> Option<Url> {
    Url::parse(&origin(STS_VARIABLE)?).ok()
}

fn origin(variable: &str) -> Option<String> {
    let url = std::env::var_os(variable).filter(|url| !url.is_empty())?;
    // Invalid Unicode is replaced; the result does not parse as a URL, so that no other host is called.
    Some(url.to_string_lossy().into_owned())
}

/// Set by `emulator --exec`, as the next one.
pub(crate) const GRAPH_VARIABLE: &str = "KEYBOUND_EMULATOR_GRAPH";
const STS_VARIABLE: &str = "KEYBOUND_EMULATOR_STS";
const VAULT_VARIABLE: &str = "KEYBOUND_EMULATOR_VAULT";

fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
