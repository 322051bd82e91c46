//! The HTTPS client with other servers, each a process with its own folder: Apache, nginx and `openssl s_server`. The first two forward
//! requests to an application that counts them.
//!
//! With `KEYBOUND_LONG_TESTS=1` each of eight workers sends a thousand requests in every test.
#![cfg(target_os = "linux")]
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
