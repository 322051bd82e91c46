#![forbid(unsafe_code)]
#![allow(
    dead_code,
    unused_imports,
    reason = "laid out first; the services follow"
)]
//! Simulated IMDS v2, attestation service, Entra, Key Vault and Graph, on loopback, that refuse what the real ones
//! refuse.

mod clock;
mod config;
mod control;
mod entra;
mod error;
mod evidence;
mod exchange;
mod faults;
mod graph;
mod imds;
mod maa;
mod pki;
mod ready;
mod records;
mod server;
mod signing;
mod simulated;
mod state;
#[cfg(test)]
mod testing;
mod tls;
mod vault;

// The public interface.
pub use clock::Clock;
pub use config::{
    AttestationRule, Config, ConfigError, EntraConfig, GraphConfig, HostName, Identity,
    IdentityType, ImdsConfig, NetworkConfig, TlsConfig, TlsVersionRange, TokenUrlMember,
    VaultConfig,
};
pub use error::StartError;
pub use faults::{Fault, FaultError};
pub use ready::{Control, Ready};
pub use records::Record;
pub use server::{Emulator, EmulatorBuilder};
pub use simulated::{SimulatedAttestation, SimulatedKey, SimulatedKeyProvider};
