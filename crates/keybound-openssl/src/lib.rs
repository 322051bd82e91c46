//! TLS by OpenSSL with keys that cannot be exported: a private library context with a provider for
//! [`BindingKey`](keybound_keys::BindingKey)s, TLS contexts with their security settings, trust anchors, the verification of
//! servers, and adapters for callers with OpenSSL or rustls.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

use keybound_core::tls::{
    ConnectionState, Host, TlsEngine, TlsVersions, TransportError, TransportErrorKind,
};
use keybound_keys::ClientIdentity;

#[cfg(any(feature = "openssl", feature = "rustls"))]
mod adapters;
mod engine;
#[allow(unsafe_code, reason = "calls OpenSSL and is called by it")]
mod ffi;
#[cfg(feature = "server")]
#[allow(unsafe_code, reason = "calls OpenSSL")]
pub mod server;
mod trust_anchors;

// The public interface.
pub use engine::{CloseNotifyStream, Session, TlsContexts, classify, describe};
pub use ffi::warm_up;
pub use trust_anchors::TrustAnchors;
#[cfg(feature = "openssl")]
pub use {adapters::OpensslSetup, openssl};
#[cfg(feature = "rustls")]
pub use {adapters::RustlsSetup, rustls};
