//! Requests and answers, from the SDK's types and into them.
use crate::http::ResponseBody;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, Headers};
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, Method, Request};
use azure_core::stream::SeekableStream;
use bytes::Bytes;
use futures_util::{Stream as _, TryStreamExt as _};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use http_body_util::BodyDataStream;
use keybound_core::{ErrorKind as Kind, Stage};
use keybound_transport::RequestBody;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The request to send, without what the SDK wrote for authorization. The body's length is written by who sends it.
pub(super) fn outgoing(request: &Request) -> azure_core::Result<http::Request<RequestBody>> {
    let mut outgoing = http::Request::builder()
        .method(request.method().as_str())
        .uri(request.url().as_str());
    for (name, value) in request.headers().iter() {
        if *name != AUTHORIZATION && *name != CONTENT_LENGTH {
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
    }
    outgoing.body(body(request.body())).map_err(|error| {
        Error::with_error(
            ErrorKind::Other,
            error,
            "the request cannot be sent as it is",
        )
    })
}

fn body(body: &Body) -> RequestBody {
    match body {
        Body::Bytes(bytes) => RequestBody::full(bytes.clone()),
        Body::SeekableStream(stream) => RequestBody::stream(Streamed {
            left: stream.len(),
            stream: stream.clone(),
        }),
    }
}

/// A stream of the SDK, as a body that knows its length.
struct Streamed {
    stream: Box<dyn SeekableStream>,
    left: Option<u64>,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<azure_core::Result<Frame<Bytes>>>> {
        let read = ready!(Pin::new(&mut *self.stream).poll_next(context));
        if let (Some(Ok(bytes)), Some(left)) = (&read, &mut self.left) {
            *left = left.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(read.map(|read| read.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The answer, its body still to come.
pub(super) fn answer(response: http::Response<ResponseBody>) -> AsyncRawResponse {
    let (head, body) = response.into_parts();
    let body = BodyDataStream::new(body)
        .map_err(|error| Error::with_error(ErrorKind::Io, error, "the answer broke off"));
    AsyncRawResponse::new(status(head.status), headers(&head.headers), Box::pin(body))
}

fn status(status: StatusCode) -> azure_core::http::StatusCode {
    status.as_u16().into()
}

/// The SDK's headers are text, one for each name: bytes that are not UTF-8 are replaced, and the lines of a list become
/// one (RFC 9110 section 5.3).
fn headers(received: &http::HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for name in received.keys() {
        let lines = received.get_all(name).iter();
        let lines: Vec<_> = lines
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        headers.insert(
            HeaderName::from(name.as_str().to_owned()),
            HeaderValue::from(lines.join(", ")),
        );
    }
    headers
}

/// A failure in the SDK's terms. It sends again what is of kind `Connection`, and what is of kind `Io` too, whatever the
/// method: so the latter is said only of requests that may be repeated.
pub(super) fn unexchanged(request: &Request, error: crate::Error) -> Error {
    let kind = match (error.stage(), error.kind()) {
        (Stage::Resource, Kind::Unreachable) => ErrorKind::Connection,
        (Stage::Resource, _) if error.is_retryable() && may_be_repeated(request.method()) => {
            ErrorKind::Io
        }
        (Stage::Resource, _) => ErrorKind::Other,
        _ => ErrorKind::Credential,
    };
    Error::new(kind, error)
}

/// RFC 9110, section 9.2.2.
fn may_be_repeated(method: Method) -> bool {
    !matches!(method, Method::Post | Method::Patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_of_an_answer_is_lost() {
        let mut received = http::HeaderMap::new();
        for (name, value) in [
            ("www-authenticate", &b"Basic"[..]),
            (
                "www-authenticate",
                b"Bearer error_description=\"no v\xc3\xa1lidas\"",
            ),
            ("x-ms-request-id", b"r\xe9"),
        ] {
            received.append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        let headers = headers(&received);
        let read = |name| headers.get_optional_str(&HeaderName::from_static(name));
        let challenges = "Basic, Bearer error_description=\"no v\u{e1}lidas\"";
        assert_eq!(read("www-authenticate"), Some(challenges));
        assert_eq!(read("x-ms-request-id"), Some("r\u{fffd}"));
    }
}
