//! The Azure SDK's own clients, with bound tokens and with bearer tokens, against the emulator.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#[path = "azure/bearer.rs"]
mod bearer;
#[path = "azure/bound.rs"]
mod bound;
#[path = "azure/transport.rs"]
mod transport;
#[expect(dead_code, reason = "shared with tests that need more")]
#[path = "emulated/world.rs"]
mod world;
