//! The simulated world as the program uses it: the emulator, keys and attestation that stand for real ones, and the
//! environment in which the emulator runs commands.
use crate::failure::Failure;
use keybound::{ManagedIdentityClientBuilder, ProviderChain, TrustAnchors};
use keybound_emulator::{Config, Emulator, SimulatedAttestation, SimulatedKeyProvider};
use std::error::Error;
use std::sync::Arc;

/// Starts an emulator.
///
/// # Errors
/// [`Failure::Usage`] where the configuration contradicts itself, [`Failure::Host`] for anything else.
pub(crate) async fn start(config: Config) -> Result<Emulator, Failure> {
    Emulator::start(config).await.map_err(|error| match error {
        keybound_emulator::StartError::Config(error) => Failure::Usage(error.to_string()),
        error => Failure::Host(with_causes(&error)),
    })
}

/// The emulator's CA beside the system's.
pub(crate) fn trust(emulator: &Emulator) -> Result<TrustAnchors, Failure> {
    let path = std::path::Path::new(&emulator.ready().ca_file);
    let failed = |error: &dyn Error| Failure::Host(format!("{}: {error}", path.display()));
    let pem = std::fs::read(path).map_err(|error| failed(&error))?;
    TrustAnchors::system()
        .with_pem(&pem)
        .map_err(|error| failed(&error))
}

/// Gives a client simulated keys and their attestation. The library refuses them outside of a simulated world.
pub(crate) fn simulate(
    builder: ManagedIdentityClientBuilder,
    trust: TrustAnchors,
) -> Result<ManagedIdentityClientBuilder, Failure> {
    let attestation = SimulatedAttestation::new(trust).map_err(|error| {
        Failure::Host(format!("the simulated attestation cannot be used: {error}"))
    })?;
    Ok(builder
        .key_providers(ProviderChain::new(vec![Arc::new(
            SimulatedKeyProvider::new(),
        )]))
        .attestation(Arc::new(attestation)))
}

/// The origin of the emulator's Graph look-alike, where an emulator runs this program.
pub(crate) fn graph_origin() -> Option<String> {
    std::env::var(GRAPH_VARIABLE)
        .ok()
        .filter(|url| !url.is_empty())
}

/// Set by `emulator --exec`.
pub(crate) const GRAPH_VARIABLE: &str = "KEYBOUND_EMULATOR_GRAPH";

fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
