//! The interface of `openssl.rs` in builds for Windows without OpenSSL. Its types have no values.
use crate::{ClientIdentity, TlsVersions, TransportError, TransportErrorKind};
use keybound_core::Sha1Thumbprint;
use keybound_core::tls::{ConnectionState, Host, TlsErrorClass};
use keybound_keys::LastKeyError;
use std::error::Error;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

pub(crate) enum TlsContexts {}

impl TlsContexts {
    pub(crate) fn new(
        _: Option<&ClientIdentity>,
        _: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        Err(not_built_in())
    }

    pub(crate) fn pinned(_: Sha1Thumbprint) -> Result<Self, TransportError> {
        Err(not_built_in())
    }

    pub(crate) fn last_key_error(&self) -> Option<&Arc<LastKeyError>> {
        match *self {}
    }

    pub(crate) fn session(&self, _: &Host, _: TlsVersions) -> Result<Session, TransportError> {
        match *self {}
    }
}

fn not_built_in() -> TransportError {
    TransportError::new(
        TransportErrorKind::HostUnsupported,
        "OpenSSL is not built in: build with the feature openssl-vendored",
    )
}

pub(crate) enum Session {}

impl Session {
    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        match *self {}
    }

    pub(crate) async fn connect(
        self,
        _: TcpStream,
        _: impl FnOnce(io::Error) -> TransportError,
    ) -> Result<TcpStream, TransportError> {
        match self {}
    }
}

/// The trusted certificate authorities: the system's. Others require OpenSSL, which this build does not contain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustAnchors(());

impl TrustAnchors {
    /// The system's trust store.
    pub fn system() -> Self {
        Self::default()
    }

    /// Fails in this build; with OpenSSL, adds the certificates of a PEM text.
    ///
    /// # Errors
    /// [`HostUnsupported`](keybound_core::ErrorKind::HostUnsupported).
    pub fn with_pem(self, _: &[u8]) -> Result<Self, keybound_core::Error> {
        Err(TransportError::new(
            TransportErrorKind::HostUnsupported,
            "windows trusts the CA certificates of its certificate stores: add the certificate there (certutil -addstore Root FILE), or \
             build with the feature openssl-vendored",
        )
        .into())
    }

    /// Fails in this build; with OpenSSL, adds the certificates for loopback hosts only.
    ///
    /// # Errors
    /// As [`with_pem`](Self::with_pem).
    pub fn with_loopback_pem(self, pem: &[u8]) -> Result<Self, keybound_core::Error> {
        self.with_pem(pem)
    }

    /// Whether certificates were added to the system's.
    pub fn is_extended(&self) -> bool {
        false
    }
}

pub(crate) fn classify(_: &(dyn Error + 'static)) -> Option<TlsErrorClass> {
    None
}

pub(crate) fn describe(_: &(dyn Error + 'static)) -> Option<String> {
    None
}

/// Does nothing in this build; with OpenSSL, initializes what all clients share.
pub fn warm_up() {}
