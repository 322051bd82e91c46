use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Value, json};

/// The response of a service.
pub(crate) type Response = http::Response<Bytes>;

/// What is sent over the connection.
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
    /// Nothing, for as long as the peer waits.
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
            Self::Full(answer) | Self::Oversized(answer, _) | Self::Truncated(answer) => {
                Some(answer.status().as_u16())
            }
            Self::NotHttp(_) | Self::Hang | Self::Close | Self::Reset => None,
        }
    }
}

/// A response with a JSON body.
pub(crate) fn json_response(status: u16, body: &Value) -> Response {
    text_response(status, "application/json; charset=utf-8", body.to_string())
}

/// A response with a body of this content type.
pub(crate) fn text_response(
    status: u16,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let mut answer = Response::new(body.into());
    *answer.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The response of all services for an unknown path.
pub(crate) fn not_found() -> Response {
    json_response(
        404,
        &json!({"error": "not_found", "error_description": "no such resource"}),
    )
}
