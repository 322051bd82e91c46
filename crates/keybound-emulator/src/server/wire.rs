//! A minimal HTTP/1.1 server. It can request a certificate after the head of a request and inject faults, which HTTP
//! libraries do not support.
use super::hosts::{Form, Hosts};
use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use std::borrow::Cow;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A stream and its read buffer.
pub(super) struct Wire<S> {
    pub(super) stream: S,
    pub(super) buffer: BytesMut,
}

/// The head of a request, and how its body is framed.
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The connection ends with this exchange.
    pub(super) last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// Why no request was parsed.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The stream ended or failed; no response is possible.
    Gone,
    /// The response has this status, then the connection is closed.
    Refused(StatusCode, &'static str),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Reads the head of the next request; `None` where the stream ended before one began.
    pub(super) async fn read_head(&mut self, hosts: Hosts) -> Result<Option<Head>, ReadError> {
        let mut searched = 0;
        loop {
            if let Some(position) = find(&self.buffer[searched..], b"\r\n\r\n") {
                let head = self.buffer.split_to(searched + position + 4);
                return parse_head(&head, hosts).map(Some);
            }
            if self.buffer.len() >= MAX_HEAD_BYTES {
                return refuse(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "the head is too long",
                );
            }
            searched = self.buffer.len().saturating_sub(3);
            let fresh = self.buffer.is_empty();
            if self.fill().await? == 0 {
                return if fresh {
                    Ok(None)
                } else {
                    Err(ReadError::Gone)
                };
            }
        }
    }

    /// Reads the body, of at most `limit` bytes.
    pub(super) async fn read_body(
        &mut self,
        framing: Framing,
        limit: usize,
    ) -> Result<Bytes, ReadError> {
        match framing {
            Framing::None => Ok(Bytes::new()),
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > limit {
                    return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
                }
                self.take(length).await
            }
            Framing::Chunked => self.read_chunks(limit).await,
        }
    }

    async fn read_chunks(&mut self, limit: usize) -> Result<Bytes, ReadError> {
        let mut body = BytesMut::new();
        loop {
            let size = chunk_size(&self.line().await?)?;
            if size == 0 {
                break;
            }
            if size > limit - body.len() {
                return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
            }
            body.extend_from_slice(&self.take(size).await?);
            if !self.line().await?.is_empty() {
                return refuse(StatusCode::BAD_REQUEST, "a chunk is longer than its size");
            }
        }
        for _ in 0..MAX_HEADERS {
            if self.line().await?.is_empty() {
                return Ok(body.freeze());
            }
        }
        refuse(StatusCode::BAD_REQUEST, "too many trailers")
    }

    /// The next `length` bytes.
    async fn take(&mut self, length: usize) -> Result<Bytes, ReadError> {
        while self.buffer.len() < length {
            if self.fill().await? == 0 {
                return Err(ReadError::Gone);
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<Bytes, ReadError> {
        loop {
            if let Some(position) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(position).freeze();
                self.buffer.advance(2);
                return Ok(line);
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return refuse(StatusCode::BAD_REQUEST, "a line of the body is too long");
            }
            if self.fill().await? == 0 {
                return Err(ReadError::Gone);
            }
        }
    }

    async fn fill(&mut self) -> Result<usize, ReadError> {
        self.stream
            .read_buf(&mut self.buffer)
            .await
            .map_err(|_| ReadError::Gone)
    }

    /// Sends `100 Continue` to a client that waits for it.
    pub(super) async fn write_continue(&mut self) -> io::Result<()> {
        self.stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await?;
        self.stream.flush().await
    }

    /// Writes a response. That to HEAD has the head of the response to GET and no body.
    pub(super) async fn write_response(
        &mut self,
        response: &Response<Bytes>,
        head_only: bool,
        last: bool,
    ) -> io::Result<()> {
        let mut text = response_head(response.status(), response.headers());
        text.extend_from_slice(format!("content-length: {}\r\n", response.body().len()).as_bytes());
        if last {
            text.extend_from_slice(b"connection: close\r\n");
        }
        text.extend_from_slice(b"\r\n");
        if !head_only {
            text.extend_from_slice(response.body());
        }
        self.stream.write_all(&text).await?;
        self.stream.flush().await
    }
}

/// The status line and the headers, without the empty line at their end.
pub(super) fn response_head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or("Status");
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in headers {
        if name == CONTENT_LENGTH || name == CONNECTION || name == TRANSFER_ENCODING {
            continue;
        }
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn parse_head(bytes: &[u8], hosts: Hosts) -> Result<Head, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => (),
        _ => return Err(malformed()),
    }
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| malformed())?;
    let target = Target::read(parsed.path.unwrap_or_default())?;
    let http11 = parsed.version == Some(1);
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = target.path.parse::<Uri>().map_err(|_| malformed())?;
    if !http11 {
        *request.version_mut() = http::Version::HTTP_10;
    }
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| malformed())?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| malformed())?;
        request.headers_mut().append(name, value);
    }
    if http11 && request.headers().get_all(HOST).iter().count() != 1 {
        return refuse(StatusCode::BAD_REQUEST, "there must be one Host header");
    }
    check_host(&target, request.headers(), hosts)?;
    Ok(Head {
        framing: framing(request.headers(), http11)?,
        expects_continue: http11 && has_word(request.headers(), &EXPECT, "100-continue"),
        last: has_word(request.headers(), &CONNECTION, "close")
            || (!http11 && !has_word(request.headers(), &CONNECTION, "keep-alive")),
        request,
    })
}

/// The target of a request, in the origin form or the absolute form (RFC 9112 section 3.2).
struct Target<'a> {
    /// Scheme and authority of the absolute form.
    origin: Option<(&'a str, &'a str)>,
    /// Path and query.
    path: Cow<'a, str>,
}

impl<'a> Target<'a> {
    fn read(text: &'a str) -> Result<Self, ReadError> {
        if text.contains('#') {
            return Err(malformed());
        }
        if text.starts_with('/') {
            let (origin, path) = (None, text.into());
            return Ok(Self { origin, path });
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "the target is neither a path nor a URL",
            );
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = match path.strip_prefix('/') {
            Some(_) => path.into(),
            None => format!("/{path}").into(),
        };
        Ok(Self {
            origin: Some((scheme, authority)),
            path,
        })
    }
}

/// Checks the host that a request names. The absolute form counts for more than `Host` (RFC 9112 section 3.2.2). A request
/// of HTTP/1.0 may name none; browsers, which this is about, always name one.
fn check_host(target: &Target<'_>, headers: &HeaderMap, hosts: Hosts) -> Result<(), ReadError> {
    let known = match (target.origin, headers.get(HOST)) {
        (Some((scheme, authority)), _) => {
            scheme.eq_ignore_ascii_case(hosts.scheme) && hosts.include(authority, Form::Absolute)
        }
        (None, Some(host)) => {
            let text = host.to_str();
            text.is_ok_and(|authority| hosts.include(authority, Form::Origin))
        }
        (None, None) => true,
    };
    if known {
        return Ok(());
    }
    refuse(
        StatusCode::MISDIRECTED_REQUEST,
        "the request names a host that is not this one",
    )
}

/// RFC 9112 section 6.3; ambiguous framing, which allows request smuggling, is refused.
fn framing(headers: &HeaderMap, http11: bool) -> Result<Framing, ReadError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::None),
        (None, Some(coding)) if http11 && codings.next().is_none() => {
            if coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                Ok(Framing::Chunked)
            } else {
                refuse(
                    StatusCode::NOT_IMPLEMENTED,
                    "the transfer coding is not known",
                )
            }
        }
        (Some(length), None) if lengths.next().is_none() => {
            let digits = length.as_bytes();
            let number = std::str::from_utf8(digits)
                .ok()
                .filter(|_| digits.iter().all(u8::is_ascii_digit))
                .and_then(|text| text.parse().ok());
            match number {
                Some(number) => Ok(Framing::Length(number)),
                None => refuse(StatusCode::BAD_REQUEST, "Content-Length is not a number"),
            }
        }
        _ => refuse(
            StatusCode::BAD_REQUEST,
            "the length of the body is ambiguous",
        ),
    }
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}

fn chunk_size(line: &[u8]) -> Result<usize, ReadError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| (1..=8).contains(&text.len()))
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|text| usize::from_str_radix(text, 16).ok())
        .ok_or(ReadError::Refused(
            StatusCode::BAD_REQUEST,
            "the size of a chunk is not a number",
        ))
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}

fn malformed() -> ReadError {
    ReadError::Refused(StatusCode::BAD_REQUEST, "the head is malformed")
}

fn refuse<T>(status: StatusCode, why: &'static str) -> Result<T, ReadError> {
    Err(ReadError::Refused(status, why))
}

/// Longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Longest line within a chunked body (sizes, extensions, trailers), in bytes.
const MAX_LINE_BYTES: usize = 4096;
const MAX_HEADERS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: Hosts = Hosts {
        scheme: "http",
        link_local: true,
    };

    type Scripted<'a> = tokio::io::Join<&'a [u8], Vec<u8>>;

    fn wire(bytes: &[u8]) -> Wire<Scripted<'_>> {
        Wire::new(tokio::io::join(bytes, vec![]))
    }

    async fn exchange(bytes: &[u8], limit: usize) -> Result<(Head, Bytes), StatusCode> {
        let status = |error| match error {
            ReadError::Refused(status, _) => status,
            ReadError::Gone => StatusCode::REQUEST_TIMEOUT,
        };
        let mut wire = wire(bytes);
        let head = wire.read_head(HOSTS).await.map_err(status)?.unwrap();
        let body = wire.read_body(head.framing, limit).await.map_err(status)?;
        Ok((head, body))
    }

    #[tokio::test]
    async fn bodies_are_read_by_length_and_by_chunks() {
        for (text, body) in [
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""),
            (
                "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
                "abc",
            ),
            (
                "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n1 \r\nc\r\n0\r\nT: v\r\n\r\n",
                "abc",
            ),
        ] {
            let (_, read) = exchange(text.as_bytes(), 3).await.unwrap();
            assert_eq!(read, body, "{text}");
        }
    }

    #[tokio::test]
    async fn a_second_request_follows_on_the_same_stream() {
        let mut wire = wire(
            b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nxGET /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        let first = wire.read_head(HOSTS).await.unwrap().unwrap();
        assert!(!first.last);
        assert_eq!(wire.read_body(first.framing, 1).await.unwrap(), "x");
        let second = wire.read_head(HOSTS).await.unwrap().unwrap();
        assert_eq!(second.request.uri(), "/b");
        assert!(second.last);
        assert!(wire.read_head(HOSTS).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn malformed_and_ambiguous_requests_are_refused() {
        let bad = StatusCode::BAD_REQUEST;
        let misdirected = StatusCode::MISDIRECTED_REQUEST;
        for (text, status) in [
            ("GET / HTTP/1.1\r\n\r\n", bad),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
                bad,
            ),
            ("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", bad),
            (
                "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
                bad,
            ),
            ("GET http:/x HTTP/1.1\r\nHost: localhost\r\n\r\n", bad),
            ("GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n", bad),
            (
                "GET http://localhost/#b HTTP/1.1\r\nHost: localhost\r\n\r\n",
                bad,
            ),
            ("GET http://localhost/ HTTP/1.1\r\n\r\n", bad),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", misdirected),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", misdirected),
            ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", misdirected),
            (
                "GET / HTTP/1.1\r\nHost: localhost\u{e9}\r\n\r\n",
                misdirected,
            ),
            (
                "GET http://h/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                misdirected,
            ),
            ("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", misdirected),
            (
                "GET http:/// HTTP/1.1\r\nHost: localhost\r\n\r\n",
                misdirected,
            ),
            (
                "GET http://u@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                misdirected,
            ),
            (
                "GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                misdirected,
            ),
            (
                "GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                misdirected,
            ),
            ("\x16\x03\x01 garbage\r\n\r\n", bad),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\nx",
                bad,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: \r\n\r\nx",
                bad,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
                bad,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                bad,
            ),
            (
                "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                bad,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
                StatusCode::NOT_IMPLEMENTED,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
                bad,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
                bad,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
                bad,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nabcd",
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
                bad,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab",
                StatusCode::REQUEST_TIMEOUT,
            ),
        ] {
            let refused = exchange(text.as_bytes(), 3).await.err();
            assert_eq!(refused, Some(status), "{text:?}");
        }
    }

    /// RFC 9112 section 3.2.2: a server takes the whole URL too, and then ignores `Host`.
    #[tokio::test]
    async fn a_url_as_the_target_counts_as_its_path() {
        for (target, path) in [
            ("http://127.0.0.1:8080/a/b?c=d%20&e=/?", "/a/b?c=d%20&e=/?"),
            ("HTTP://LOCALHOST/", "/"),
            ("http://localhost", "/"),
            ("http://localhost?x=y", "/?x=y"),
            ("http://[::1]:1//a", "//a"),
            ("http://169.254.169.254/metadata/x", "/metadata/x"),
            ("http://imds.invalid/metadata/x?y", "/metadata/x?y"),
            ("/http://h/", "/http://h/"),
        ] {
            for version in ["1.0", "1.1"] {
                let text = format!("GET {target} HTTP/{version}\r\nHost: localhost\r\n\r\n");
                let (head, _) = exchange(text.as_bytes(), 0).await.unwrap();
                assert_eq!(head.request.uri().to_string(), path, "{target}");
                assert_eq!(head.request.uri().authority(), None, "{target}");
            }
        }
        let other_host = "GET http://localhost/a HTTP/1.1\r\nHost: h\r\n\r\n";
        let (head, _) = exchange(other_host.as_bytes(), 0).await.unwrap();
        assert_eq!(head.request.uri().path(), "/a");
        let no_host = "GET /a HTTP/1.0\r\n\r\n";
        assert!(exchange(no_host.as_bytes(), 0).await.is_ok());
    }

    #[tokio::test]
    async fn heads_and_lines_without_end_are_refused() {
        let mut endless = b"GET / HTTP/1.1\r\nx: ".to_vec();
        endless.resize(MAX_HEAD_BYTES + 10, b'a');
        assert_eq!(
            exchange(&endless, 0).await.err(),
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
        let mut line =
            b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_vec();
        line.resize(line.len() + MAX_LINE_BYTES + 1, b'a');
        assert_eq!(
            exchange(&line, 9).await.err(),
            Some(StatusCode::BAD_REQUEST)
        );
    }

    #[tokio::test]
    async fn answers_are_framed_by_length() {
        let mut wire = wire(b"");
        let response = Response::builder()
            .status(401)
            .header("x-a", "b")
            .body(Bytes::from_static(b"no"))
            .unwrap();
        wire.write_response(&response, false, true).await.unwrap();
        assert_eq!(
            String::from_utf8(wire.stream.into_inner().1).unwrap(),
            "HTTP/1.1 401 Unauthorized\r\nx-a: b\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
        );
    }
}
