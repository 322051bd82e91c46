//! Attestation of binding keys: a service (MAA) states in a JWT how a key is protected.
//!
//! Only KeyGuard keys can be attested, on Windows, by Microsoft's native library: [`native`] finds, verifies and calls it. A
//! failed attestation is an error; the request is never sent without it.
#![deny(unsafe_code)]

pub mod native;

use keybound_core::{AttestationToken, Guid, Result};
use keybound_keys::BindingKey;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use url::Url;

/// A key to attest, and the attestation service.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttestationRequest<'a> {
    /// The origin of the attestation service, which the endpoint policy allows.
    pub endpoint: &'a Url,
    /// The key.
    pub key: &'a dyn BindingKey,
    /// The client id of the identity.
    pub client_id: &'a Guid,
}

impl<'a> AttestationRequest<'a> {
    /// Creates a request to attest a key.
    pub fn new(endpoint: &'a Url, key: &'a dyn BindingKey, client_id: &'a Guid) -> Self {
        Self {
            endpoint,
            key,
            client_id,
        }
    }
}

/// The future of an attestation.
pub type AttestationFuture<'a> =
    Pin<Box<dyn Future<Output = Result<AttestationToken>> + Send + 'a>>;

/// A provider of key attestations.
pub trait AttestationProvider: Send + Sync + fmt::Debug {
    /// Attests the key. The caller enforces its deadline by dropping the future.
    ///
    /// # Errors
    /// Of stage attestation: [`AttestationUnavailable`](keybound_core::ErrorKind::AttestationUnavailable) if this
    /// kind of key cannot be attested here, otherwise [`AttestationFailed`](keybound_core::ErrorKind::AttestationFailed) or
    /// the error of the transport.
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a>;

    /// Whether it attests simulated keys only. Results are then `simulated`, never `attested`.
    fn is_simulated(&self) -> bool {
        false
    }

    /// Finds the native library that it calls, without loading it: its path, or the error of an attestation without it. `None`
    /// if it calls no library. It may block for as long as the file system does. Default: `None`.
    fn find_library(&self) -> Option<Result<PathBuf>> {
        None
    }
}
