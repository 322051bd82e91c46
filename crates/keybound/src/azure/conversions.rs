//! Conversions of requests, responses and errors between the SDK's types and ours.
use crate::access_token::IssuedToken;
use crate::http::ResponseBody;
use azure_core::credentials::{AccessToken, Secret};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{CONTENT_LENGTH, HeaderName, HeaderValue, Headers};
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, Method, Request};
use azure_core::stream::SeekableStream;
use bytes::Bytes;
use futures_util::{Stream as _, TryStreamExt as _};
use http_body::{Frame, SizeHint};
use http_body_util::BodyDataStream;
use keybound_core::{ErrorKind as Kind, Stage};
use keybound_transport::RequestBody;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Returns the scope, or an error if there is not exactly one.
pub(super) fn single_scope<'a>(scopes: &[&'a str]) -> azure_core::Result<&'a str> {
    match scopes {
        &[scope] => Ok(scope),
        _ => Err(Error::with_message(
            ErrorKind::Credential,
            "a token is for exactly one scope",
        )),
    }
}

/// Converts a token.
pub(super) fn to_sdk_token(issued: &IssuedToken) -> AccessToken {
    let secret = Secret::new(issued.secret.expose().to_owned());
    AccessToken::new(secret, issued.expires_on_date)
}

/// Converts a request, without `Content-Length`, which is set when it is sent.
pub(super) fn to_http_request(request: &Request) -> azure_core::Result<http::Request<RequestBody>> {
    let mut builder = http::Request::builder()
        .method(request.method().as_str())
        .uri(request.url().as_str());
    for (name, value) in request.headers().iter() {
        if *name != CONTENT_LENGTH {
            builder = builder.header(name.as_str(), value.as_str());
        }
    }
    builder
        .body(to_request_body(request.body()))
        .map_err(|error| Error::with_error(ErrorKind::Other, error, "the request is malformed"))
}

fn to_request_body(body: &Body) -> RequestBody {
    match body {
        Body::Bytes(bytes) => RequestBody::full(bytes.clone()),
        Body::SeekableStream(stream) => RequestBody::stream(SdkStream {
            remaining: stream.len(),
            stream: stream.clone(),
        }),
    }
}

/// A stream of the SDK as a body, with its length if known.
struct SdkStream {
    stream: Box<dyn SeekableStream>,
    remaining: Option<u64>,
}

impl http_body::Body for SdkStream {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<azure_core::Result<Frame<Bytes>>>> {
        let read = ready!(Pin::new(&mut *self.stream).poll_next(context));
        if let (Some(Ok(bytes)), Some(remaining)) = (&read, &mut self.remaining) {
            *remaining = remaining.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(read.map(|read| read.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Converts a response, whose body is streamed.
pub(super) fn to_sdk_response(response: http::Response<ResponseBody>) -> AsyncRawResponse {
    let (head, body) = response.into_parts();
    let body = BodyDataStream::new(body).map_err(|error| {
        Error::with_error(ErrorKind::Io, error, "the response body could not be read")
    });
    let status = head.status.as_u16().into();
    AsyncRawResponse::new(status, to_sdk_headers(&head.headers), Box::pin(body))
}

/// Converts headers. The SDK has one text per name: malformed UTF-8 is replaced, and the values of a name are joined (RFC 9110
/// section 5.3).
fn to_sdk_headers(received: &http::HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for name in received.keys() {
        let values = received.get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        headers.insert(
            HeaderName::from(name.as_str().to_owned()),
            HeaderValue::from(values.join(", ")),
        );
    }
    headers
}

/// Converts an error. The SDK retries errors of kind `Connection` and `Io` whatever the method, so `Io` is used only for
/// idempotent requests.
pub(super) fn to_sdk_error(request: &Request, error: crate::Error) -> Error {
    let kind = match (error.stage(), error.kind()) {
        (Stage::Resource, Kind::Unreachable) => ErrorKind::Connection,
        (Stage::Resource, _) if error.is_retryable() && is_idempotent(request.method()) => {
            ErrorKind::Io
        }
        (Stage::Resource, _) => ErrorKind::Other,
        _ => ErrorKind::Credential,
    };
    Error::new(kind, error)
}

/// RFC 9110, section 9.2.2.
fn is_idempotent(method: Method) -> bool {
    !matches!(method, Method::Post | Method::Patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_every_header() {
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
        let headers = to_sdk_headers(&received);
        let read = |name| headers.get_optional_str(&HeaderName::from_static(name));
        let challenges = "Basic, Bearer error_description=\"no v\u{e1}lidas\"";
        assert_eq!(read("www-authenticate"), Some(challenges));
        assert_eq!(read("x-ms-request-id"), Some("r\u{fffd}"));
    }
}
