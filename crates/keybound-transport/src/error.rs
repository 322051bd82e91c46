use keybound_core::BoxError;
use std::borrow::Cow;

/// A connection or an exchange failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    kind: TransportErrorKind,
    message: Cow<'static, str>,
    connection_lost: bool,
    source: Option<BoxError>,
}

impl TransportError {
    /// An error of a kind; the message is lower-case, without a full stop.
    pub fn new(kind: TransportErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            connection_lost: false,
            source: None,
        }
    }

    /// Marks that there was no connection, or that it ended before the answer was complete.
    #[must_use]
    pub fn with_connection_lost(mut self) -> Self {
        self.connection_lost = true;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Whether there was no connection (a name without an address, no route, refused), or it ended before the answer was
    /// complete, for no reason that is known: a new attempt may succeed. The request may have been received. With the kind
    /// [`ClientCertificateRejected`](TransportErrorKind::ClientCertificateRejected), no alert said that the peer refused it.
    pub fn is_connection_lost(&self) -> bool {
        self.connection_lost
    }
}

/// One kind for each thing that a caller can do differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The request cannot be sent as it is (a header with CR, LF or NUL; not https). Nothing was sent.
    InvalidRequest,
    /// No connection to the peer.
    Connect,
    /// The proxy refused or failed.
    Proxy,
    /// The server's certificate could not be verified.
    ServerCertificate,
    /// The peer refused our certificate, or broke the handshake after it was presented.
    ClientCertificateRejected,
    /// The key did not sign.
    Key,
    /// TLS failed for another reason.
    Tls,
    /// The peer closed the connection or broke HTTP.
    Protocol,
    /// The answer is longer than allowed.
    TooLarge,
    /// The time given passed.
    Timeout,
    /// The host's TLS does not allow the work: OpenSSL's configuration, what SChannel cannot do, or a library that is not
    /// built in.
    HostUnsupported,
}
