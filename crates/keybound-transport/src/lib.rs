//! An HTTPS/1.1 client for keys that cannot be exported, over OpenSSL or Windows' SChannel. It supports TLS 1.2 renegotiation
//! and, with OpenSSL, TLS 1.3 post-handshake authentication.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

mod connection;
mod connection_info;
mod counting_stream;
mod engine;
mod error_class;
mod exchange;
#[doc(hidden)]
pub mod fuzz;
mod handshake_parser;
mod https_client;
mod origin;
mod outgoing_request;
mod peer;
mod pool;
mod proxy;
mod request_body;
mod response_body;
mod route;
mod runtime_thread;
mod send_error;
mod send_plain;
mod tunnel;

// The public interface.
pub use connection_info::ConnectionInfo;
pub use engine::openssl::{TrustAnchors, warm_up};
pub use https_client::{ConnectionReuse, HttpsClient, HttpsSettings};
pub use keybound_core::Sha1Thumbprint;
pub use keybound_core::tls::{
    TlsEngine, TlsVersions, TransportError, TransportErrorKind, VersionPolicy,
};
pub use keybound_keys::ClientIdentity;
#[cfg(feature = "openssl")]
pub use keybound_openssl::{OpensslSetup, openssl};
#[cfg(feature = "rustls")]
pub use keybound_openssl::{RustlsSetup, rustls};
pub use outgoing_request::Idempotent;
pub use proxy::ProxyConfig;
pub use request_body::RequestBody;
pub use response_body::ResponseBody;
pub use runtime_thread::{RuntimeHandle, RuntimeThread};
pub use send_plain::send_plain;
