//! The subrequests of nginx, Apache, HAProxy, Traefik, Caddy, and Envoy's external authorization over HTTP. The answer has no body.
use crate::CheckService;
use crate::body::Body;
use crate::check::{Check, Denial, IDENTITY_HEADERS, identity_headers};
use http::header::{AUTHORIZATION, HOST, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode, request};
use keybound_resource::source::CertificateSource as _;
use keybound_resource::{Authorization, Caller};
use std::borrow::Cow;

impl CheckService {
    /// Answers the subrequest of a proxy. Its body is not read.
    pub(crate) async fn http(&self, parts: &request::Parts) -> Response<Body> {
        let source = &self.0.source;
        let certificate = source.load().certificate(&parts.headers, &parts.extensions);
        let original = Original::of(parts, self.0.engine.forwards_request_line());
        let values = parts.headers.get_all(AUTHORIZATION).iter();
        let check = Check {
            host: original.host,
            method: original.method,
            path: &original.path,
            authorization: Authorization::from_values(values.map(HeaderValue::as_bytes)),
            certificate: &certificate,
        };
        match self.decide(&check).await {
            Ok(caller) => allowed(&caller),
            Err(denial) => self.denied(&denial),
        }
    }

    fn denied(&self, denial: &Denial) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let status = match (self.0.engine.passes_only_401_and_403(), denial.status()) {
            (true, status) if status != 403 => 401,
            (_, status) => status,
        };
        // All statuses of the reasons are valid.
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        // It is printable ASCII.
        if let Some(challenge) = &denial.challenge
            && let Ok(challenge) = HeaderValue::from_str(challenge)
        {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = denial.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        headers.insert(STATUS, denial.status().into());
        let code = HeaderValue::from_static(denial.reason().code());
        headers.insert(REASON, code);
        response
    }
}

/// All headers are set, also empty ones: where a proxy copies those of the answer over the request's, none of the client remains.
fn allowed(caller: &Caller) -> Response<Body> {
    let mut headers = HeaderMap::with_capacity(IDENTITY_HEADERS.len() + OF_SERVER);
    for (name, value) in names().zip(identity_headers(caller)) {
        // It is visible ASCII.
        let value = HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""));
        headers.insert(name, value);
    }
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers;
    response
}

fn names() -> impl Iterator<Item = HeaderName> {
    IDENTITY_HEADERS
        .iter()
        .map(|name| HeaderName::from_static(name))
}

/// `Date` and `Content-Length`.
const OF_SERVER: usize = 2;

/// The request of the client.
struct Original<'a> {
    host: &'a str,
    method: &'a str,
    /// For the log only.
    path: Cow<'a, str>,
}

impl<'a> Original<'a> {
    /// What is missing or repeated is empty, as are hosts and methods that are not ASCII. No API has an empty host.
    fn of(parts: &'a request::Parts, is_own: bool) -> Self {
        let header = |name| {
            let value = std::str::from_utf8(only(&parts.headers, &name)).unwrap_or_default();
            if value.is_ascii() { value } else { "" }
        };
        if is_own {
            let authority = parts.uri.authority().map(http::uri::Authority::as_str);
            return Self {
                host: authority.unwrap_or_else(|| header(HOST)),
                method: parts.method.as_str(),
                path: parts.uri.path().into(),
            };
        }
        Self {
            host: header(FORWARDED_HOST),
            method: header(FORWARDED_METHOD),
            path: String::from_utf8_lossy(only(&parts.headers, &FORWARDED_URI)),
        }
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a [u8] {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_bytes(),
        _ => b"",
    }
}

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
/// The status for the client, for proxies that pass on only some.
const STATUS: HeaderName = HeaderName::from_static("x-keybound-status");
const REASON: HeaderName = HeaderName::from_static("x-keybound-reason");
