//! The client against the emulator: the flow, its failures, its caches, the calls.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
mod blocking;
mod bound_calls;
mod caching;
mod caller_tokens;
mod calls;
mod capabilities;
mod confidential;
mod deadlines;
mod identities;
mod invariants;
mod key_rollover;
mod load;
mod logs;
mod other_tls_libraries;
mod platform_keys;
mod probe;
mod resources;
mod runtimes;
mod steps;
