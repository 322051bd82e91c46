//! Clients of the Azure SDK, with bound and bearer tokens, against the emulator.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#[path = "azure/bearer_credential.rs"]
mod bearer_credential;
#[path = "azure/bound_calls.rs"]
mod bound_calls;
#[path = "azure/managed_identity_credential.rs"]
mod managed_identity_credential;
#[expect(dead_code, reason = "shared with tests that need more")]
#[path = "emulated/test_host.rs"]
mod test_host;
#[path = "azure/transport.rs"]
mod transport;
