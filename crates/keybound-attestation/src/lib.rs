//! Attestation of binding keys: a service (MAA) vouches, by a JWT, that a key is kept where it says.
//!
//! Only KeyGuard keys can be attested, on Windows, by Microsoft's native library: [`native`] looks for it, checks it and
//! calls it. An attestation that was asked for and not had is an error, never an unattested request.
#![deny(unsafe_code)]

pub mod native;

use keybound_core::{AttestationToken, Guid, Result};
use keybound_keys::BindingKey;
use std::fmt;
use std::pin::Pin;
use url::Url;

/// What is to be attested, and where.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AttestationRequest<'a> {
    /// The origin of the attestation service, checked already.
    pub endpoint: &'a Url,
    /// The key.
    pub key: &'a dyn BindingKey,
    /// The client id of the identity.
    pub client_id: &'a Guid,
}

impl<'a> AttestationRequest<'a> {
    /// A request to attest a key.
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

/// Something that can have a key attested.
pub trait AttestationProvider: Send + Sync + fmt::Debug {
    /// Has the key attested. The deadline is the caller's: dropping the future gives up.
    ///
    /// # Errors
    /// Of stage attestation: [`AttestationUnavailable`](keybound_core::ErrorKind::AttestationUnavailable) where this
    /// kind of key cannot be attested here, [`AttestationFailed`](keybound_core::ErrorKind::AttestationFailed) or what
    /// the transport said otherwise.
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a>;

    /// Whether it vouches for simulated keys only. Results then say `simulated`, never `attested`.
    fn is_simulated(&self) -> bool {
        false
    }
}
