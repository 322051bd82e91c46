//! Simulated services for managed identities, on loopback: IMDS v2, the attestation service (MAA), Entra's mTLS token endpoint, a
//! Key Vault that requests the certificate after the request, and Graph; and for bearer tokens IMDS v1, App Service, Container
//! Apps, Service Fabric, Azure Arc, Machine Learning and Cloud Shell.
//!
//! They reject what the real services reject, with the same errors, and inject faults on demand. Their certificates and tokens
//! are worthless elsewhere: they are issued by authorities that are created at the start, attestation says `simulated`, and
//! the CA for clients is constrained to loopback names.
//!
//! ```
//! use keybound_emulator::{Config, Emulator};
//!
//! let mut config = Config::default();
//! config.imds.certificate_lifetime_seconds = 8 * 3600;
//! let emulator = Emulator::start(config)?;
//! // The next token request fails as for a revoked certificate, the one after it succeeds.
//! emulator.inject("token=aadsts:1000610*1".parse()?)?;
//! println!("{}", serde_json::to_string(emulator.ready())?);
//! assert!(emulator.records().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The services run until the [`Emulator`] is dropped. Faults and configuration have text forms: see [`Fault`] and
//! [`Config::from_toml`].
#![forbid(unsafe_code)]

mod call;
mod clock;
mod config;
mod control;
mod control_secret;
mod emulator;
mod endpoints;
mod entra;
mod evidence;
mod faults;
#[doc(hidden)]
pub mod fuzz;
mod graph;
mod imds;
mod issued_certificates;
mod listeners;
mod maa;
mod peer;
mod pki;
mod random_secret;
mod ready;
mod ready_file;
mod record;
mod records;
mod reply;
mod response;
mod secrets;
mod selector;
mod server;
mod server_thread;
mod service;
mod service_handler;
mod signing_key;
mod simulated_attestation;
mod simulated_key;
mod sources;
mod start_error;
mod state;
#[cfg(test)]
mod testing;
mod vault;

// The public API.
pub use clock::Clock;
pub use config::{
    App, ArcConfig, AttestationRule, BypassCache, ComputeConfig, Config, ConfigError, EntraConfig,
    FederatedCredential, GraphConfig, HostName, Identity, IdentityType, ImdsConfig, NetworkConfig,
    OsType, Resource, Tenant, TlsConfig, TlsVersionRange, TokenNotAfterEncoding, TokenUrlMember,
    TokenVersion, VaultConfig,
};
pub use emulator::{Emulator, EmulatorBuilder};
pub use faults::{Fault, FaultError};
pub use ready::{Control, Ready};
pub use ready_file::ReadyFile;
pub use record::Record;
pub use simulated_attestation::SimulatedAttestation;
pub use simulated_key::{SimulatedKey, SimulatedKeyProvider};
pub use sources::{Source, UnknownSource};
pub use start_error::StartError;
