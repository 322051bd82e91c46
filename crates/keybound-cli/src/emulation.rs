//! The simulated world as the program uses it: keys and attestation that stand for real ones, and the environment in
//! which the emulator runs commands.
use crate::failure::Failure;
use keybound::{ManagedIdentityClientBuilder, ProviderChain, TrustAnchors};
use keybound_emulator::{SimulatedAttestation, SimulatedKeyProvider};
use std::sync::Arc;

/// Gives a client simulated keys and their attestation. The library refuses them outside of a simulated world.
pub(crate) fn simulate(
    builder: ManagedIdentityClientBuilder,
    trust: TrustAnchors,
) -> Result<ManagedIdentityClientBuilder, Failure> {
    let attestation = SimulatedAttestation::new(trust)
        .map_err(|error| Failure::Host(format!("the simulated attestation cannot be used: {error}")))?;
    Ok(builder
        .key_providers(ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())]))
        .attestation(Arc::new(attestation)))
}

/// The origin of the emulator's Graph look-alike, where an emulator runs this program.
pub(crate) fn graph_origin() -> Option<String> {
    std::env::var(GRAPH_VARIABLE).ok().filter(|url| !url.is_empty())
}

/// Set by `emulator --exec`.
pub(crate) const GRAPH_VARIABLE: &str = "KEYBOUND_EMULATOR_GRAPH";
