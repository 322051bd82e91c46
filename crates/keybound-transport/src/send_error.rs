use crate::{RequestBody, TransportError};

/// Why a request received no response on a connection.
pub(crate) enum SendError {
    /// A reused connection ended before any of the request was sent. With its body, if hyper returned it.
    NotSent(Option<RequestBody>, TransportError),
    /// A reused connection was closed without a byte of a response. The server may have received the request.
    NoResponse(TransportError),
    /// The deadline has passed.
    TimedOut,
    /// The server may have received the request, or part of a response was read.
    Failed(TransportError),
}
