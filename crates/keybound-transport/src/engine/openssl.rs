//! OpenSSL as the TLS library. In builds without it, `no_openssl.rs` is this module.
pub(crate) use keybound_openssl::{Session, TlsContexts, classify, describe};
pub use keybound_openssl::{TrustAnchors, warm_up};
