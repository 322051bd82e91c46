//! The page of the control endpoint, for people. It contains no data: its script requests them with the secret.
use crate::response::{Response, text_response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, Request};
use openssl::sha::sha256;

/// Whether the request is for the page.
pub(super) fn is_requested(request: &Request<Bytes>) -> bool {
    let target = request.uri().path_and_query();
    request.method() == Method::GET && target.is_some_and(|target| target.as_str() == "/")
}

/// The page, which runs its own script only, connects to its origin only, and cannot be framed.
pub(super) fn response() -> Response {
    let mut response = text_response(200, HTML, PAGE);
    let headers = response.headers_mut();
    // Hashes and constants: always a valid value.
    if let Ok(policy) = HeaderValue::from_str(&policy()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn policy() -> String {
    let [script, style] = ["script", "style"].map(|name| STANDARD.encode(sha256(content(name))));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// The content of the page's only element of this name.
fn content(name: &str) -> &'static [u8] {
    let (_, rest) = PAGE.split_once(&format!("<{name}>")).unwrap_or_default();
    let (content, _) = rest.split_once(&format!("</{name}>")).unwrap_or_default();
    content.as_bytes()
}

const HEADERS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];
const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = include_str!("page.html");
