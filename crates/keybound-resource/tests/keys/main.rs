//! Discovered keys, by a fake clock and a fake issuer.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod documents;
mod refreshes;
mod requests;
#[path = "../support/mod.rs"]
mod support;
