//! The wrapper of the native library with fake libraries and the real one. For Windows, or Wine:
//! `scripts/test-windows --package keybound-attestation`.
#![cfg(windows)]
#![allow(clippy::unwrap_used, reason = "a test fails if its setup fails")]

mod calls;
mod loading;
mod real;
mod support;
