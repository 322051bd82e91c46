//! TLS servers that request the client's certificate and accept any issuer: the token names the certificate (RFC 8705 section 6.2).
mod handshakes;
mod listener;
#[cfg(feature = "openssl")]
mod openssl_server;
#[cfg(feature = "rustls")]
mod rustls_server;

pub use listener::{HandshakeFuture, MtlsListener, MtlsStream, TlsServer};
#[cfg(feature = "openssl")]
pub use openssl_server::{OpensslServer, request_any_client_certificate};
#[cfg(feature = "rustls")]
pub use rustls_server::{AnyClientCertificate, RustlsServer};
