//! Adapters for callers with their own TLS library: contexts that present the certificate, and keys that sign.
#[cfg(feature = "openssl")]
mod openssl_setup;
#[cfg(feature = "rustls")]
mod rustls_setup;
mod verifying_signer;

#[cfg(feature = "openssl")]
pub use openssl_setup::OpensslSetup;
#[cfg(feature = "rustls")]
pub use rustls_setup::RustlsSetup;
