//! The resource's side of mTLS proof-of-possession: verifies access tokens of Microsoft Entra ID that are bound to a client
//! certificate (RFC 8705), and compares the binding with the certificate of the connection.
//!
//! The core is synchronous and does no I/O: a [`Verifier`] has a policy, keys and a cache; [`Verifier::verify`] takes the headers
//! `Authorization` and the [`ClientCertificate`] of the connection, and returns the [`Caller`] or a [`Refusal`] with its status and
//! challenge.
//!
//! ```
//! use keybound_resource::{Authorization, ClientCertificate, Guid, KeySet, Keys, Verifier};
//! # type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//!
//! fn verifier(key_set: &[u8]) -> Result<Verifier> {
//!     let tenant = Guid::parse("72f988bf-86f1-41af-91ab-2d7cd011db47").ok_or("not a GUID")?;
//!     Ok(Verifier::builder()
//!         .audience("api://orders.contoso.com")
//!         .tenant(tenant)
//!         .keys(Keys::fixed(KeySet::parse(key_set)?))
//!         .build()?)
//! }
//!
//! /// The response to a request: all values of its headers `Authorization`, and the certificate of its connection.
//! fn respond(verifier: &Verifier, authorization: &[&str], certificate: &ClientCertificate) -> (u16, String) {
//!     let authorization = Authorization::from_values(authorization.iter().copied());
//!     match verifier.verify(authorization, certificate) {
//!         Ok(caller) => (200, format!("hello {}", caller.client())),
//!         Err(refusal) => (refusal.status(), refusal.challenge().unwrap_or_default()),
//!     }
//! }
//! ```
//!
//! The guide [Accept mtls_pop tokens in ten minutes](https://github.com/keybound/keybound/blob/main/docs/resource.md) describes servers with
//! axum and tonic, APIs behind a proxy, all settings, and what is verified.
//!
//! | feature | adds |
//! |---|---|
//! | `tokio` | `Verifier::authenticate`, which refreshes the issuers' keys in tasks of tokio |
//! | `fetch` | `fetch::HttpsKeyFetcher`, which fetches the issuers' keys |
//! | `tower` | `tower::MtlsPopLayer`, and the sources of client certificates: the connection, or the header of a proxy |
//! | `axum` | extractors for the caller, roles and scopes, and `axum::serve` with client certificates |
//! | `tonic` | tonic's server with client certificates |
//! | `test-util` | `test_util::TestCaller`, callers for the tests of handlers |
//! | `rustls`, `openssl` | TLS servers that request a client certificate of any issuer; `tls` is what they share |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
#[doc(hidden)]
pub mod accept_errors;
mod authorization;
#[cfg(feature = "axum")]
pub mod axum;
mod cache;
mod cache_counters;
mod caller;
mod certificate_rules;
mod claims;
mod client_certificate;
mod clock;
mod compact_token;
mod continuous_access;
#[cfg(feature = "fetch")]
pub mod fetch;
mod issuer;
mod jose_header;
mod key_strength;
mod keys;
mod members;
mod policy;
mod reason;
mod refusal;
#[doc(hidden)]
pub mod regular_file;
#[cfg(feature = "tower")]
pub mod source;
#[cfg(feature = "test-util")]
pub mod test_util;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "tonic")]
pub mod tonic;
#[cfg(feature = "tower")]
pub mod tower;
mod verifier;
#[cfg(feature = "tls")]
#[doc(hidden)]
pub mod warning_limit;

pub use authorization::{Authorization, Schemes};
pub use cache_counters::CacheCounters;
pub use caller::Caller;
pub use certificate_rules::CertificateRules;
pub use client_certificate::{CertificateError, ClientCertificate, ConnectionCertificate};
pub use clock::{Clock, SharedClock, SystemClock};
pub use continuous_access::{AccessDecision, ContinuousAccess};
pub use issuer::{Issuer, TokenVersion};
pub use keybound_core::{Certificate, Claims, Cloud, Guid, Thumbprints, X5tS256};
pub use keys::{
    FetchError, FetchFuture, KeyFetcher, KeyFile, KeyFileError, KeyRefresh, KeySet, KeySetError,
    KeyStatus, Keys, PublishedKeys, SharedKeys,
};
pub use reason::Reason;
pub use refusal::Refusal;
pub use verifier::{BuildError, Verifier, VerifierBuilder};

/// The errors of [`Certificate`], [`Claims`], [`Cloud`] and the settings of the fetcher.
pub mod errors {
    pub use keybound_core::tls::{TransportError, TransportErrorKind};
    pub use keybound_core::{
        BoxError, Error, ErrorKind, Result, SecretString, ServiceError, Stage,
    };
}

#[cfg(all(
    doctest,
    feature = "axum",
    feature = "fetch",
    feature = "openssl",
    feature = "test-util"
))]
#[doc = include_str!("../../../docs/resource.md")]
mod guide {}

/// Maximum length of a token, in bytes: more than proxies accept in a header.
pub const MAX_TOKEN: usize = 16 * 1024;

/// The least memory for cached tokens, in bytes: room for the longest token. With less, a verifier caches none.
pub const MIN_CACHE_BYTES: usize = 32 * 1024;
