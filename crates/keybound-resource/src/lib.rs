//! The resource's side of mTLS proof-of-possession: verifies access tokens of Microsoft Entra ID that are bound to a client
//! certificate (RFC 8705), and compares the binding with the certificate of the connection.
//!
//! The core is synchronous and does no I/O: a [`Verifier`] has a policy, keys and a cache; [`Verifier::verify`] takes the header
//! `Authorization` and the [`ClientCertificate`] of the connection, and returns the [`Caller`] or a [`Refusal`] with its status and
//! challenge.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod authorization;
#[cfg(feature = "axum")]
pub mod axum;
mod cache;
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
pub use caller::Caller;
pub use certificate_rules::CertificateRules;
pub use client_certificate::{CertificateError, ClientCertificate, ConnectionCertificate};
pub use clock::{Clock, SystemClock};
pub use continuous_access::{AccessDecision, ContinuousAccess};
pub use issuer::{Issuer, TokenVersion};
pub use keybound_core::{Certificate, Cloud, Guid, X5tS256};
pub use keys::{
    FetchError, FetchFuture, KeyFetcher, KeyFile, KeyFileError, KeyRefresh, KeySet, KeySetError,
    KeyStatus, Keys, PublishedKeys, SharedKeys,
};
pub use reason::Reason;
pub use refusal::Refusal;
pub use verifier::{BuildError, Verifier, VerifierBuilder};

#[cfg(all(doctest, feature = "axum", feature = "fetch", feature = "openssl"))]
#[doc = include_str!("../../../docs/resource.md")]
mod guide {}

/// Maximum length of a token, in bytes: more than proxies accept in a header.
pub const MAX_TOKEN: usize = 16 * 1024;

/// The least memory for cached tokens, in bytes: room for the longest token. With less, a verifier caches none.
pub const MIN_CACHE_BYTES: usize = 32 * 1024;
