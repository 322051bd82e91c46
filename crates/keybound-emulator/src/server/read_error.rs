use http::StatusCode;

/// Why a request could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The stream has ended or failed; no response is possible.
    Disconnected,
    /// The request is invalid: the response has this status and reason, then the connection is closed.
    Rejected(StatusCode, &'static str),
}

pub(super) fn malformed() -> ReadError {
    ReadError::Rejected(StatusCode::BAD_REQUEST, "the head is malformed")
}

pub(super) fn reject<T>(status: StatusCode, reason: &'static str) -> Result<T, ReadError> {
    Err(ReadError::Rejected(status, reason))
}
