use super::hosts::{Form, Hosts};
use super::read_error::{ReadError, malformed, reject};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use std::borrow::Cow;

/// The head of a request, and how its body is framed.
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// The client waits for `100 Continue` before sending the body.
    pub(super) expects_continue: bool,
    /// The connection is closed after the response.
    pub(super) last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
}

impl Head {
    /// Parses a head: its bytes with the empty line at the end.
    pub(super) fn parse(bytes: &[u8], hosts: Hosts) -> Result<Head, ReadError> {
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
            return reject(StatusCode::BAD_REQUEST, "there must be one Host header");
        }
        check_host(&target, request.headers(), hosts)?;
        Ok(Head {
            framing: framing(request.headers(), http11)?,
            expects_continue: http11 && has_token(request.headers(), &EXPECT, "100-continue"),
            last: has_token(request.headers(), &CONNECTION, "close")
                || (!http11 && !has_token(request.headers(), &CONNECTION, "keep-alive")),
            request,
        })
    }
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
            return reject(
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

/// Checks the host of a request. The absolute form takes precedence over `Host` (RFC 9112 section 3.2.2). A request of HTTP/1.0
/// can omit the host; browsers, against which this check is directed, never do.
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
    reject(
        StatusCode::MISDIRECTED_REQUEST,
        "the host of the request is not this server",
    )
}

/// RFC 9112 section 6.3. Ambiguous framing is rejected, since it allows request smuggling.
fn framing(headers: &HeaderMap, http11: bool) -> Result<Framing, ReadError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::None),
        (None, Some(coding)) if http11 && codings.next().is_none() => {
            if coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                Ok(Framing::Chunked)
            } else {
                reject(
                    StatusCode::NOT_IMPLEMENTED,
                    "the transfer coding is not supported",
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
                None => reject(StatusCode::BAD_REQUEST, "Content-Length is not a number"),
            }
        }
        _ => reject(
            StatusCode::BAD_REQUEST,
            "the length of the body is ambiguous",
        ),
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}

/// Maximum number of headers, and of trailers.
pub(super) const MAX_HEADERS: usize = 100;
