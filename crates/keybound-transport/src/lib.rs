//! TLS and HTTP for keys that cannot be read: a bridge from a [`BindingKey`](keybound_keys::BindingKey) to OpenSSL,
//! Windows' SChannel with keys of CNG, and one HTTPS/1.1 client above them that survives TLS 1.2 renegotiation and, with
//! OpenSSL, TLS 1.3 post-handshake authentication.
#![deny(unsafe_code)]

mod body;
#[cfg(any(not(windows), feature = "openssl-engine"))]
#[allow(unsafe_code, reason = "calls OpenSSL and is called by it")]
mod bridge;
mod client;
mod connect;
mod connection;
mod driver;
mod engine;
mod error;
mod failure;
#[doc(hidden)]
pub mod fuzz;
mod identity;
mod metered;
mod observer;
mod plain;
mod pool;
mod proxy;
#[cfg(feature = "server")]
#[allow(unsafe_code, reason = "calls OpenSSL")]
pub mod server;
mod session;
mod spare;
#[cfg(any(feature = "openssl", feature = "rustls"))]
mod stacks;
mod target;
mod trust;
mod tunnel;
mod versions;

// The public interface.
pub use body::{RequestBody, ResponseBody};
pub use client::{ConnectionInfo, HttpsClient, HttpsClientBuilder, warm_up};
pub use engine::TlsEngine;
pub use error::{TransportError, TransportErrorKind};
pub use identity::ClientIdentity;
pub use plain::PlainClient;
pub use proxy::ProxyConfig;
pub use spare::ChangesNothing;
pub use trust::TrustAnchors;
pub use versions::{TlsVersions, VersionPolicy};
#[cfg(feature = "openssl")]
pub use {openssl, stacks::OpensslSetup};
#[cfg(feature = "rustls")]
pub use {rustls, stacks::RustlsSetup};
