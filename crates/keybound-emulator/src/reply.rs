use crate::response::Response;
use bytes::Bytes;

/// The bytes that a connection sends for a request: a response, or a fault of the transport.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A response.
    Full(Response),
    /// The head of the response, then this many bytes of spaces, streamed.
    Oversized(Response, u64),
    /// Head and first half of the body, with the content length of the whole; then the connection is closed.
    Truncated(Response),
    /// These bytes instead of HTTP; then the connection is closed.
    NotHttp(Bytes),
    /// Nothing, until the client disconnects.
    Hang,
    /// The connection is closed without a response.
    Close,
    /// The connection is reset without a response.
    Reset,
}

impl Reply {
    /// The status of the response, if there is one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Full(response) | Self::Oversized(response, _) | Self::Truncated(response) => {
                Some(response.status().as_u16())
            }
            Self::NotHttp(_) | Self::Hang | Self::Close | Self::Reset => None,
        }
    }
}
