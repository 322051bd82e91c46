//! The framing of gRPC over HTTP/2, for calls with one message each way that is not compressed.
use crate::body::Body;
use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::error::Error;

/// A call that is not answered by a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A code of gRPC.
    code: &'static str,
    description: &'static str,
}

/// The message of a call.
pub(super) async fn read_message<B>(body: B) -> Result<Bytes, Failure>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = Limited::new(body, PREFIX + MAX_MESSAGE).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Failure::TOO_LONG,
        false => Failure::INCOMPLETE,
    })?;
    message(body.to_bytes())
}

/// The message in the body of a request.
pub(crate) fn message(mut body: Bytes) -> Result<Bytes, Failure> {
    let prefix = body.split_to(PREFIX.min(body.len()));
    let &[compressed, a, b, c, d] = &*prefix else {
        return Err(Failure::INCOMPLETE);
    };
    if compressed != 0 {
        return Err(Failure::COMPRESSED);
    }
    let length = u32::from_be_bytes([a, b, c, d]);
    if usize::try_from(length) != Ok(body.remaining()) {
        return Err(Failure::INCOMPLETE);
    }
    Ok(body)
}

/// A response with a message that `write` appends.
pub(super) fn response(write: impl FnOnce(&mut Vec<u8>)) -> Response<Body> {
    let mut framed = Vec::with_capacity(USUAL_MESSAGE);
    framed.extend_from_slice(&[0; PREFIX]);
    write(&mut framed);
    // Answers have some hundred bytes, and at most as many as the claims of a token.
    let length = u32::try_from(framed.len() - PREFIX).unwrap_or(u32::MAX);
    framed[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    with_content_type(Body::with_trailers(framed.into(), trailers))
}

impl Failure {
    pub(super) const MALFORMED: Self = Self::internal("the message is malformed");
    /// Of a method that does not exist here.
    pub(super) const UNIMPLEMENTED: Self =
        Self::unimplemented("only ext_authz of Envoy is answered here");
    const COMPRESSED: Self = Self::unimplemented("messages are not decompressed");
    const INCOMPLETE: Self = Self::internal("expected one message");
    const TOO_LONG: Self = Self {
        code: "8",
        description: "the message is too long",
    };

    const fn internal(description: &'static str) -> Self {
        Self {
            code: "13",
            description,
        }
    }

    const fn unimplemented(description: &'static str) -> Self {
        Self {
            code: "12",
            description,
        }
    }
}

impl From<Failure> for Response<Body> {
    fn from(Failure { code, description }: Failure) -> Self {
        let mut response = with_content_type(Body::empty());
        let headers = response.headers_mut();
        headers.insert(STATUS, HeaderValue::from_static(code));
        headers.insert(MESSAGE, HeaderValue::from_static(description));
        response
    }
}

fn with_content_type(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Whether the message is compressed, and its length.
const PREFIX: usize = 5;
/// In bytes: a token, a certificate and what surrounds them.
const MAX_MESSAGE: usize = 128 * 1024;
const USUAL_MESSAGE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_has_exactly_one_message() {
        for (body, expected) in [
            (&[0, 0, 0, 0, 0][..], Ok(&[][..])),
            (&[0, 0, 0, 0, 2, 7, 8], Ok(&[7, 8])),
            (&[], Err(Failure::INCOMPLETE)),
            (&[0, 0, 0, 0], Err(Failure::INCOMPLETE)),
            (&[0, 0, 0, 0, 2, 7], Err(Failure::INCOMPLETE)),
            (&[0, 0, 0, 0, 1, 7, 8], Err(Failure::INCOMPLETE)),
            (&[0, 0xff, 0xff, 0xff, 0xff, 7], Err(Failure::INCOMPLETE)),
            (&[1, 0, 0, 0, 1, 7], Err(Failure::COMPRESSED)),
            (&[2, 0, 0, 0, 1, 7], Err(Failure::COMPRESSED)),
        ] {
            let found = message(Bytes::from_static(body));
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{body:?}");
        }
    }
}
