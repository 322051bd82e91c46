//! What callers with a TLS stack of their own are given: contexts that present the certificate, and keys that sign for
//! them.
#[cfg(feature = "openssl")]
mod openssl;
#[cfg(feature = "rustls")]
mod rustls;
mod verifying_signer;

#[cfg(feature = "openssl")]
pub use self::openssl::OpensslSetup;
#[cfg(feature = "rustls")]
pub use self::rustls::RustlsSetup;
