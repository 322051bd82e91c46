//! OpenSSL as a TLS library. In builds without it, `no_openssl.rs` takes this runtime.
pub use keybound_openssl::TrustAnchors;
pub(crate) use keybound_openssl::{Session, TlsContexts, classify, warm_up};
