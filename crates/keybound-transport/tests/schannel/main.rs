//! SChannel as the client's TLS. Under Wine it speaks TLS 1.2, does no renegotiation, and presents certificates whose keys
//! are in CryptoAPI; what is shown here is what that can show.
//!
//! On Windows itself the user is asked whether the test authority may be added to the trusted roots.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#[path = "../support/mod.rs"]
mod support;

mod connections;
mod engine_choice;
mod fixture;
mod native;
mod trust;
