use keybound_core::{Error, ErrorKind, Stage};
use keybound_transport::{TransportError, TransportErrorKind};

/// Puts a transport's failure into the terms of the flow.
pub(crate) fn transport_error(stage: Stage, error: TransportError) -> Error {
    let kind = match error.kind() {
        TransportErrorKind::InvalidRequest => ErrorKind::InvalidRequest,
        TransportErrorKind::Connect | TransportErrorKind::Proxy => ErrorKind::Unreachable,
        TransportErrorKind::ServerCertificate => ErrorKind::ServerCertificateInvalid,
        TransportErrorKind::ClientCertificateRejected => ErrorKind::ClientCertificateRejected,
        TransportErrorKind::Key => ErrorKind::KeyFailed,
        TransportErrorKind::Tls => ErrorKind::TlsFailed,
        TransportErrorKind::TooLarge => ErrorKind::AnswerTooLarge,
        TransportErrorKind::Timeout => ErrorKind::DeadlineReached,
        TransportErrorKind::HostUnsupported => ErrorKind::HostUnsupported,
        _ => ErrorKind::InvalidAnswer,
    };
    // A connection that broke may hold the next time; an answer that broke HTTP may not, but asking is harmless.
    let retryable = kind.is_transient() || error.kind() == TransportErrorKind::Protocol;
    let message = match kind {
        ErrorKind::InvalidRequest => "the request cannot be sent as it is",
        ErrorKind::Unreachable => "no connection to the service",
        ErrorKind::ServerCertificateInvalid => "the server's certificate could not be verified",
        ErrorKind::ClientCertificateRejected => "the server refused the client certificate",
        ErrorKind::KeyFailed => "the binding key did not sign",
        ErrorKind::TlsFailed => "TLS failed",
        ErrorKind::AnswerTooLarge => "the answer is larger than allowed",
        ErrorKind::DeadlineReached => "the service did not answer in time",
        ErrorKind::HostUnsupported => "the host's TLS does not allow the work",
        _ => "the connection broke, or the answer is not HTTP",
    };
    Error::new(kind, stage, message)
        .with_retryable(retryable)
        .with_source(error)
}
