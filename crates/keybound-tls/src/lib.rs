//! TLS and HTTP for keys that cannot be read: a bridge from a [`BindingKey`](keybound_keys::BindingKey) to OpenSSL, and
//! one HTTPS/1.1 client that survives TLS 1.2 renegotiation and TLS 1.3 post-handshake authentication.
#![deny(unsafe_code)]

mod body;
#[allow(unsafe_code, reason = "calls OpenSSL and is called by it")]
mod bridge;
mod client;
mod connect;
mod connection;
mod driver;
mod error;
mod failure;
mod identity;
mod metered;
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
mod tls;
mod trust;
mod unbroken;
mod versions;

// The public interface.
pub use body::{RequestBody, ResponseBody};
pub use client::{ConnectionInfo, HttpsClient, HttpsClientBuilder, warm_up};
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
