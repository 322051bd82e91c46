//! Discovered keys, by a fake clock and a fake issuer.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod documents;
mod freshness;
mod refreshes;
mod requests;
mod schedule;
#[path = "../support/mod.rs"]
mod support;
