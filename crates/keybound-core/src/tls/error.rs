use crate::{BoxError, Error, ErrorKind, Stage};
use std::borrow::Cow;
use std::fmt;

/// A connection or an exchange failed.
#[derive(Debug)]
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

    /// The error of a step in which a request failed. This error is its source.
    pub fn at(self, stage: Stage) -> Error {
        let kind = ErrorKind::from(self.kind);
        // A connection that broke may hold the next time; an answer that broke HTTP may not, but asking is harmless.
        let retryable = kind.is_transient() || self.kind == TransportErrorKind::Protocol;
        let message = match kind {
            ErrorKind::InvalidRequest => "the request cannot be sent as it is",
            ErrorKind::Unreachable => "no connection to the service",
            ErrorKind::ServerCertificateInvalid => "the server's certificate could not be verified",
            ErrorKind::ClientCertificateRejected => "the server refused the client certificate",
            ErrorKind::KeyFailed => "the binding key did not sign",
            ErrorKind::TlsFailed => "TLS failed",
            ErrorKind::ResponseTooLarge => "the answer is larger than allowed",
            ErrorKind::DeadlineReached => "the service did not answer in time",
            ErrorKind::HostUnsupported => "the host's TLS does not allow the work",
            _ => "the connection broke, or the answer is not HTTP",
        };
        Error::new(kind, stage, message)
            .with_retryable(retryable)
            .with_source(self)
    }
}

/// The error of a setting: nothing was sent. For a request that failed see [`TransportError::at`].
impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        let converted = Self::new(error.kind.into(), Stage::Request, error.message);
        match error.source {
            Some(source) => converted.with_source(source),
            None => converted,
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
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

impl From<TransportErrorKind> for ErrorKind {
    fn from(kind: TransportErrorKind) -> Self {
        match kind {
            TransportErrorKind::InvalidRequest => Self::InvalidRequest,
            TransportErrorKind::Connect | TransportErrorKind::Proxy => Self::Unreachable,
            TransportErrorKind::ServerCertificate => Self::ServerCertificateInvalid,
            TransportErrorKind::ClientCertificateRejected => Self::ClientCertificateRejected,
            TransportErrorKind::Key => Self::KeyFailed,
            TransportErrorKind::Tls => Self::TlsFailed,
            TransportErrorKind::Protocol => Self::InvalidResponse,
            TransportErrorKind::TooLarge => Self::ResponseTooLarge,
            TransportErrorKind::Timeout => Self::DeadlineReached,
            TransportErrorKind::HostUnsupported => Self::HostUnsupported,
        }
    }
}
