//! The HTTPS client against servers in this process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#[path = "../support/mod.rs"]
mod support;

mod authentication;
mod failing_keys;
mod handshakes;
mod invariants;
mod malformed_responses;
mod pinned;
mod plain;
mod pool;
mod proxy;
mod retries;
mod servers;
mod slow_keys;
