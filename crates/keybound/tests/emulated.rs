//! The client against the emulator: the flow, its failures, its caches, the calls.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#[path = "emulated/blocking.rs"]
mod blocking;
#[path = "emulated/caching.rs"]
mod caching;
#[path = "emulated/calls.rs"]
mod calls;
#[path = "support/captured_log.rs"]
mod captured_log;
#[path = "emulated/deadlines.rs"]
mod deadlines;
#[path = "emulated/identities.rs"]
mod identities;
#[path = "emulated/invariants.rs"]
mod invariants;
#[path = "support/leaks.rs"]
mod leaks;
#[path = "emulated/load.rs"]
mod load;
#[path = "emulated/logs.rs"]
mod logs;
#[path = "emulated/other_tls_libraries.rs"]
mod other_tls_libraries;
#[path = "emulated/platform_keys.rs"]
mod platform_keys;
#[path = "emulated/probe.rs"]
mod probe;
#[path = "emulated/resources.rs"]
mod resources;
#[path = "emulated/runtimes.rs"]
mod runtimes;
#[path = "emulated/steps.rs"]
mod steps;
#[path = "emulated/test_host.rs"]
mod test_host;
