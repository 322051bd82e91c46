//! The HTTPS client against servers that others wrote, each an ordinary process with a folder of its own: Apache, nginx and
//! `openssl s_server`. Behind the first two stands an application that counts what arrives.
//!
//! `KEYBOUND_LONG_TESTS=1` has each of eight workers send a thousand requests everywhere, and more of all else.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#[path = "../support/mod.rs"]
mod support;

mod apache;
mod application;
mod exchanges;
mod fixture;
mod interruptions;
mod load;
mod nginx;
mod process;
mod s_server;
mod web_server;
