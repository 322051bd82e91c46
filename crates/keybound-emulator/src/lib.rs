//! The services that a managed identity with a bound key meets, simulated on loopback: IMDS v2, the attestation service
//! (MAA), Entra's mTLS token endpoint, a Key Vault that asks for the certificate after the request, and Graph.
//!
//! They refuse what the real ones refuse, in their words, and misbehave on demand. What they certify is worth nothing
//! elsewhere: certificates and tokens come from authorities made at the start, attestation says `simulated`, and the CA
//! that clients are given to trust is constrained to loopback names.
//!
//! ```
//! use keybound_emulator::{Config, Emulator};
//!
//! let mut config = Config::default();
//! config.imds.certificate_lifetime_seconds = 8 * 3600;
//! let emulator = Emulator::start(config)?;
//! // The next token request is refused as for a revoked certificate, the one after is answered.
//! emulator.inject("token=aadsts:1000610*1".parse()?)?;
//! println!("{}", serde_json::to_string(emulator.ready())?);
//! assert!(emulator.records().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The services run until the [`Emulator`] is dropped. Faults and configuration have text forms: see [`Fault`] and
//! [`Config::from_toml`].
#![forbid(unsafe_code)]

mod clock;
mod config;
mod control;
mod entra;
mod error;
mod evidence;
mod exchange;
mod faults;
#[doc(hidden)]
pub mod fuzz;
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
    AttestationRule, BypassCache, ComputeConfig, Config, ConfigError, EntraConfig, GraphConfig,
    HostName, Identity, IdentityType, ImdsConfig, NetworkConfig, OsType, TlsConfig,
    TlsVersionRange, TokenNotAfterEncoding, TokenUrlMember, VaultConfig,
};
pub use error::StartError;
pub use faults::{Fault, FaultError};
pub use ready::{Control, Ready};
pub use records::Record;
pub use server::{Emulator, EmulatorBuilder};
pub use simulated::{SimulatedAttestation, SimulatedKey, SimulatedKeyProvider};
