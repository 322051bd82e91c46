//! TLS servers that request the client's certificate and accept any issuer: the token names the certificate (RFC 8705 section 6.2).
mod handshakes;
mod listener;
#[cfg(feature = "openssl")]
mod openssl_server;
#[cfg(feature = "rustls")]
mod rustls_server;

pub use listener::{Encrypted, HandshakeFuture, MtlsListener, MtlsStream, TlsServer};
#[cfg(feature = "openssl")]
pub use openssl_server::{NoCertificateRequest, OpensslServer, request_any_client_certificate};
#[cfg(feature = "rustls")]
pub use rustls_server::{AnyClientCertificate, RustlsServer};

// Their types are in the signatures.
#[cfg(feature = "openssl")]
pub use openssl;
#[cfg(feature = "rustls")]
pub use rustls;
