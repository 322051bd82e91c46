//! SChannel as the client's TLS library. Wine's SChannel supports TLS 1.2 without renegotiation, and certificates whose keys are in
//! CryptoAPI; these tests cover that.
//!
//! On Windows, a dialog asks whether the test authority may be added to the trusted roots.
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#[path = "../support/mod.rs"]
mod support;

mod connections;
mod engine_choice;
mod fixture;
mod native;
mod pinned;
mod trust;
