//! A world under a paused clock: IMDS, Entra, the attestation service, keys and a store, all of which can fail as configured.
//! Conversations are data (`conversations/*.json`); the soak lives through a month.
mod case;
mod conversation;
mod entra;
mod expect;
mod hanging_key;
mod imds;
mod keys;
#[path = "../tests/support/leaks.rs"]
mod leaks;
mod log;
mod pki;
mod resource;
mod runner;
mod script;
mod soak;
mod store;
mod telemetry;
mod world;
mod worlds;

use world::{Call, Leg, World};
