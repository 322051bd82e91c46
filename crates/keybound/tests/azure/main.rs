//! Clients of the Azure SDK, with bound and bearer tokens, against the emulator.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod bearer_over_mtls;
mod bound_calls;
mod client_assertion_credential;
mod managed_identity_credential;
mod transport;
