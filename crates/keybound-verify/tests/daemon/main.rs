//! The daemon: its configuration, connections, reload, new keys, junk tokens, end, metrics and log.
#![cfg_attr(
    unix,
    expect(clippy::unwrap_used, reason = "what fails here fails the test")
)]

#[cfg(unix)]
mod clients;
mod config;
#[cfg(unix)]
mod connections;
#[cfg(unix)]
mod fixture;
#[cfg(unix)]
mod flood;
#[cfg(unix)]
mod key_sources;
#[cfg(unix)]
mod keys;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod open_files;
#[cfg(unix)]
mod operator_reloads;
#[cfg(unix)]
mod operators;
#[cfg(unix)]
mod policy;
#[cfg(unix)]
mod reload;
#[cfg(unix)]
mod rolling_issuer;
#[cfg(unix)]
mod rollover;
#[cfg(unix)]
mod sockets;
#[cfg(unix)]
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
mod tls;
#[cfg(unix)]
mod tls_daemon;
#[cfg(unix)]
mod tls_reload;
