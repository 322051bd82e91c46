use crate::{RequestBody, TransportError};
use http::Request;

/// Why a request received no response.
pub(crate) enum SendError {
    /// The connection ended before any of the request was sent.
    NotSent(Box<Request<RequestBody>>),
    /// A reused connection ended without a byte of a response. The server may have received the request, which is
    /// idempotent.
    SafeToRetry(Box<Request<RequestBody>>),
    /// The server may have received the request, or part of a response was read.
    Failed(TransportError),
}
