//! The native library's wrapper against stand-ins for the library and against the real one. For Windows, or Wine:
//! `scripts/test-windows --package keybound-attestation`.
#![cfg(windows)]
#![allow(clippy::unwrap_used, reason = "a test ends where its footing is gone")]

mod calls;
mod loading;
mod real;
mod support;
