//! TLS by OpenSSL with keys that cannot be exported: a private library context with a provider for
//! [`BindingKey`](keybound_keys::BindingKey)s, TLS contexts with their security settings, trust stores, the verification of
//! servers, and set-ups for callers who have OpenSSL or rustls.
#![deny(unsafe_code)]

use keybound_core::tls::{
    ConnectionState, Host, TlsEngine, TlsVersions, TransportError, TransportErrorKind,
};
use keybound_keys::ClientIdentity;

#[allow(unsafe_code, reason = "calls OpenSSL and is called by it")]
mod bridge;
mod engine;
#[cfg(feature = "server")]
#[allow(unsafe_code, reason = "calls OpenSSL")]
pub mod server;
#[cfg(any(feature = "openssl", feature = "rustls"))]
mod stacks;
mod trust;

// The public interface.
pub use bridge::warm_up;
pub use engine::{CloseNotifyStream, Session, TlsContexts, classify};
pub use trust::TrustAnchors;
#[cfg(feature = "openssl")]
pub use {openssl, stacks::OpensslSetup};
#[cfg(feature = "rustls")]
pub use {rustls, stacks::RustlsSetup};
