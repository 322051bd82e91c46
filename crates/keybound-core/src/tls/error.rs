use crate::{BoxError, Certificate, Error, ErrorKind, Stage};
use std::borrow::Cow;
use std::fmt;

/// The error of a connection, or of a request and its response.
#[derive(Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    message: Cow<'static, str>,
    connection_lost: bool,
    server: Option<Certificate>,
    rejected: Option<Certificate>,
    source: Option<BoxError>,
}

impl TransportError {
    /// Creates an error. The message is lower-case, without a full stop.
    pub fn new(kind: TransportErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            connection_lost: false,
            server: None,
            rejected: None,
            source: None,
        }
    }

    /// Adds the certificate of the server, if the handshake verified one.
    #[must_use]
    pub fn with_server(mut self, certificate: Option<Certificate>) -> Self {
        self.server = certificate;
        self
    }

    /// Adds the certificate for which the server was rejected.
    #[must_use]
    pub fn with_rejected(mut self, certificate: Option<Certificate>) -> Self {
        self.rejected = certificate;
        self
    }

    /// Marks that there was no connection, or that it was closed before the response was complete.
    #[must_use]
    pub fn with_connection_lost(mut self) -> Self {
        self.connection_lost = true;
        self
    }

    /// Adds the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// The certificate of the server, if the handshake verified it before the error, and it can be read.
    pub fn server_certificate(&self) -> Option<&Certificate> {
        self.server.as_ref()
    }

    /// The certificate for which the server was rejected, its own or one of its issuers, if the TLS library names it and it can be read.
    pub fn rejected_certificate(&self) -> Option<&Certificate> {
        self.rejected.as_ref()
    }

    /// Whether there was no connection (a name without an address, no route, refused), or it was closed before the response
    /// was complete, without a known reason: a retry may succeed. The request may have been received. With the kind
    /// [`ClientCertificateRejected`](TransportErrorKind::ClientCertificateRejected), there was no alert of the peer.
    pub fn is_connection_lost(&self) -> bool {
        self.connection_lost
    }

    /// Converts it to the error of a failed request at a stage, with this error as its source.
    pub fn at(self, stage: Stage) -> Error {
        let kind = ErrorKind::from(self.kind);
        // After a broken connection a retry may succeed; after a response that violates HTTP it is harmless.
        let retryable = kind.is_transient() || self.kind == TransportErrorKind::Protocol;
        let message = match kind {
            ErrorKind::InvalidRequest => "the request cannot be sent",
            ErrorKind::Unreachable => "no connection to the service",
            ErrorKind::ServerCertificateInvalid => "the server's certificate could not be verified",
            ErrorKind::ClientCertificateRejected => "the server rejected the client certificate",
            ErrorKind::KeyFailed => "the binding key failed to sign",
            ErrorKind::TlsFailed => "TLS failed",
            ErrorKind::ResponseTooLarge => "the response is larger than allowed",
            ErrorKind::DeadlineExceeded => "the service did not respond in time",
            ErrorKind::HostUnsupported => "the host's TLS does not support the operation",
            _ => "the connection broke, or the response is not HTTP",
        };
        Error::new(kind, stage, message)
            .with_retryable(retryable)
            .with_source(self)
    }
}

/// For errors of settings, where nothing was sent. For a failed request see [`TransportError::at`].
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

/// The kind of a transport error: one for each different reaction of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The request is invalid (a header with CR, LF or NUL; not https). Nothing was sent.
    InvalidRequest,
    /// No connection to the peer.
    Connect,
    /// The proxy rejected the request or failed.
    Proxy,
    /// The server's certificate could not be verified.
    ServerCertificate,
    /// The peer rejected the client certificate, or failed the handshake after it was presented.
    ClientCertificateRejected,
    /// The key failed to sign.
    Key,
    /// TLS failed for another reason.
    Tls,
    /// The peer closed the connection or violated HTTP.
    Protocol,
    /// The response is longer than allowed.
    TooLarge,
    /// The timeout passed.
    Timeout,
    /// The host's TLS does not support the operation: OpenSSL's configuration, the limits of SChannel, or a library that is
    /// not built in.
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
            TransportErrorKind::Timeout => Self::DeadlineExceeded,
            TransportErrorKind::HostUnsupported => Self::HostUnsupported,
        }
    }
}
