//! The HTTPS client against servers in this process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#[path = "../support/mod.rs"]
mod support;

mod authentication;
mod handshakes;
mod hostile;
mod invariants;
mod keys;
mod plain;
mod pool;
mod proxy;
mod servers;
mod slow_keys;
mod unanswered;
