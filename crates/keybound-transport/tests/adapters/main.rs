//! The TLS libraries of callers with the OpenSSL and rustls adapters, against OpenSSL servers in this process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#[path = "../support/mod.rs"]
mod support;

mod fixture;
mod openssl_clients;
mod openssl_contexts;
mod rustls_clients;
mod rustls_keys;
mod rustls_servers;
