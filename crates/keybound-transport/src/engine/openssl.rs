//! OpenSSL as the TLS library. In builds without it, `no_openssl.rs` is this module.
pub use keybound_openssl::TrustAnchors;
pub(crate) use keybound_openssl::{Session, TlsContexts, classify, warm_up};
