use http::StatusCode;

/// Why no request was parsed.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The stream ended or failed; no response is possible.
    Gone,
    /// The response has this status, then the connection is closed.
    Refused(StatusCode, &'static str),
}

pub(super) fn malformed() -> ReadError {
    ReadError::Refused(StatusCode::BAD_REQUEST, "the head is malformed")
}

pub(super) fn refuse<T>(status: StatusCode, why: &'static str) -> Result<T, ReadError> {
    Err(ReadError::Refused(status, why))
}
