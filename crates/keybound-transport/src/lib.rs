//! An HTTPS/1.1 client for keys that cannot be exported, over OpenSSL or Windows' SChannel: it survives TLS 1.2
//! renegotiation and, with OpenSSL, TLS 1.3 post-handshake authentication.
#![deny(unsafe_code)]

mod body;
mod client;
mod connect;
mod connection;
mod driver;
mod engine;
mod failure;
#[doc(hidden)]
pub mod fuzz;
mod metered;
mod observer;
mod plain;
mod pool;
mod proxy;
mod replayable_request;
mod target;
mod tunnel;

// The public interface.
pub use body::{RequestBody, ResponseBody};
pub use client::{ConnectionInfo, ConnectionReuse, HttpsClient, HttpsClientBuilder, warm_up};
pub use engine::openssl::TrustAnchors;
pub use keybound_core::tls::{
    TlsEngine, TlsVersions, TransportError, TransportErrorKind, VersionPolicy,
};
pub use keybound_keys::ClientIdentity;
#[cfg(feature = "openssl")]
pub use keybound_openssl::{OpensslSetup, openssl};
#[cfg(feature = "rustls")]
pub use keybound_openssl::{RustlsSetup, rustls};
pub use plain::PlainClient;
pub use proxy::ProxyConfig;
pub use replayable_request::Idempotent;
