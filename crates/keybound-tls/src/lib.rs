//! TLS and HTTP for keys that cannot be read: a bridge from a [`BindingKey`](keybound_keys::BindingKey) to OpenSSL, and
//! one HTTPS/1.1 client that survives TLS 1.2 renegotiation and TLS 1.3 post-handshake authentication.

mod body;
mod client;
mod error;
mod identity;
mod plain;
mod proxy;
#[cfg(feature = "server")]
pub mod server;
mod trust;
mod versions;

// The public interface.
pub use body::{RequestBody, ResponseBody};
pub use client::{ConnectionInfo, HttpsClient, HttpsClientBuilder};
pub use error::{TransportError, TransportErrorKind};
pub use identity::ClientIdentity;
pub use plain::PlainClient;
pub use proxy::ProxyConfig;
pub use trust::TrustAnchors;
pub use versions::{TlsVersions, VersionPolicy};
