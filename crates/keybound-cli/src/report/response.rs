use crate::json;
use crate::text::{abbreviated, printable_line, printable_lines};
use http::{HeaderMap, HeaderValue, StatusCode};
use keybound::http::{Bytes, Response};
use keybound::{Error, ErrorKind, ServiceError, Stage};
use keybound_core::redact;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The response of a resource, with its whole body.
#[derive(Debug)]
pub(crate) struct BufferedResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl BufferedResponse {
    /// Reads a response, with at most `limit` bytes of body.
    pub(crate) async fn read(response: Response, limit: usize) -> Result<Self, Error> {
        Ok(Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes_limited(limit).await?,
        })
    }

    /// The response with each exact occurrence of a secret abbreviated, in the values of headers and in the body: a resource
    /// may echo the token.
    pub(crate) fn without(&self, secret: &str) -> Self {
        let abbreviation = abbreviated(secret);
        let without = |bytes: &[u8]| replaced(bytes, secret.as_bytes(), abbreviation.as_bytes());
        let mut headers = self.headers.clone();
        for value in headers.values_mut() {
            if let Some(bytes) = without(value.as_bytes()) {
                // Text that replaces text is a valid value.
                *value = HeaderValue::from_bytes(&bytes).unwrap_or(REDACTED);
            }
        }
        Self {
            status: self.status,
            headers,
            body: without(&self.body).map_or_else(|| self.body.clone(), Bytes::from),
        }
    }

    /// The response as text: status, type, and the body, indented if it is JSON.
    pub(crate) fn text(&self) -> String {
        let content_type = self.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.map_or_else(String::new, |value| {
            format!(
                " ({})",
                printable_line(&String::from_utf8_lossy(value.as_bytes()))
            )
        });
        format!(
            "response: HTTP {}{content_type}\n{}",
            self.status.as_u16(),
            self.body_text()
        )
    }

    /// The headers for the log, a line each, redacted.
    pub(crate) fn headers_text(&self) -> String {
        let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
            format!(
                "response {name}: {}",
                redact(&String::from_utf8_lossy(value.as_bytes()))
            )
        };
        self.headers.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The body as text, without control characters.
    pub(crate) fn body_text(&self) -> String {
        if let Some(json) = self.json() {
            return printable_lines(&json::indented(&json));
        }
        match std::str::from_utf8(&self.body) {
            Ok(text) => printable_lines(json::without_mark(text)),
            Err(_) => format!(
                "{} bytes that are not text; --output body writes them",
                self.body.len()
            ),
        }
    }

    fn json(&self) -> Option<String> {
        let content_type = self.headers.get(http::header::CONTENT_TYPE);
        let is_json_type = content_type.is_none_or(|value| {
            value
                .as_bytes()
                .to_ascii_lowercase()
                .windows(4)
                .any(|part| part == b"json")
        });
        is_json_type.then(|| json::compacted(&self.body)).flatten()
    }
}

/// A response as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ResponseReport {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Option<Box<RawValue>>,
    body_encoding: &'static str,
}

impl ResponseReport {
    pub(crate) fn new(response: &BufferedResponse) -> Self {
        let (body, body_encoding) = body_value(response);
        Self {
            status: response.status.as_u16(),
            headers: joined_headers(&response.headers),
            body,
            body_encoding,
        }
    }
}

/// The bytes with all occurrences of a secret replaced; `None` if there is none.
fn replaced(bytes: &[u8], secret: &[u8], by: &[u8]) -> Option<Vec<u8>> {
    let find = |bytes: &[u8]| {
        let mut windows = bytes.windows(secret.len().max(1));
        windows.position(|window| window == secret)
    };
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(position) = find(rest) {
        out.extend_from_slice(&rest[..position]);
        out.extend_from_slice(by);
        rest = &rest[position + secret.len()..];
    }
    if rest.len() == bytes.len() {
        return None;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// The error for a response: a redirect, which is not followed, or a status of 400 and above.
pub(crate) fn check_response(response: &BufferedResponse) -> Result<(), Error> {
    let status = response.status.as_u16();
    let (kind, message) = match status {
        301 | 302 | 303 | 307 | 308 => (
            ErrorKind::RedirectNotAllowed,
            "the resource responded with a redirect",
        ),
        408 | 429 | 500..=599 => (
            ErrorKind::ServiceUnavailable,
            "the resource failed or throttled",
        ),
        400.. => (ErrorKind::Refused, error_message(response)),
        _ => return Ok(()),
    };
    Err(Error::new(kind, Stage::Resource, message)
        .with_status(status)
        .with_service(service_error(response)))
}

fn service_error(response: &BufferedResponse) -> Option<ServiceError> {
    ServiceError::from_response(&response.body).or_else(|| {
        let challenges = response.headers.get_all(http::header::WWW_AUTHENTICATE);
        let mut challenges = challenges.iter();
        challenges.find_map(|value| ServiceError::from_challenge(value.as_bytes()))
    })
}

fn error_message(response: &BufferedResponse) -> &'static str {
    let challenge = response.headers.get_all(http::header::WWW_AUTHENTICATE);
    let requests_claims = challenge
        .iter()
        .any(|value| value.as_bytes().windows(7).any(|part| part == b"claims="));
    match response.status.as_u16() {
        401 if requests_claims => {
            "the resource requests claims: decode those of its WWW-Authenticate header (base64url) and pass them with --claims"
        }
        403 => "the resource accepted the token and denied the permission",
        _ => "the resource rejected the request",
    }
}

fn body_value(response: &BufferedResponse) -> (Option<Box<RawValue>>, &'static str) {
    if response.body.is_empty() {
        return (None, "none");
    }
    if let Some(json) = response.json()
        && let Ok(value) = RawValue::from_string(json)
    {
        return (Some(value), "json");
    }
    let (text, encoding) = json::text_or_base64(&response.body);
    (serde_json::value::to_raw_value(&text).ok(), encoding)
}

/// Headers of the same name are joined by a comma and a space (RFC 9110 section 5.3).
fn joined_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    joined
}

const REDACTED: HeaderValue = HeaderValue::from_static("[redacted]");

#[cfg(test)]
mod tests {
    use super::*;

    fn response(
        status: u16,
        content_type: Option<&'static str>,
        body: &'static [u8],
    ) -> BufferedResponse {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(value));
        }
        BufferedResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn error_of_a_challenge_is_that_of_a_response_without_a_body() {
        let mut refused = response(403, None, b"");
        let challenge = HeaderValue::from_static(
            r#"mtls_pop realm="", error="insufficient_scope", error_description="the token lacks a required role""#,
        );
        let name = http::header::WWW_AUTHENTICATE;
        refused.headers.insert(name, challenge);
        let error = check_response(&refused).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with(": insufficient_scope: the token lacks a required role"),
            "{error}"
        );
        assert!(
            !error.next_step().contains("no readable reason"),
            "{error:?}"
        );
        // The body has more.
        refused.body = Bytes::from_static(br#"{"error":"other"}"#);
        let error = check_response(&refused).unwrap_err();
        assert!(error.to_string().ends_with(": other"), "{error}");
    }

    fn report(response: &BufferedResponse) -> serde_json::Value {
        serde_json::to_value(ResponseReport::new(response)).unwrap()
    }

    #[test]
    fn bodies_are_json_text_base64_or_none() {
        for (content_type, body, encoding, expected) in [
            (
                Some("application/json; charset=utf-8"),
                &b"{\"b\":1.0,\"a\":[]}"[..],
                "json",
                r#"{"a":[],"b":1.0}"#,
            ),
            (None, b"[1]", "json", "[1]"),
            (Some("text/plain"), b"[1]", "text", r#""[1]""#),
            (Some("application/json"), b"<html>", "text", r#""<html>""#),
            (Some("image/png"), b"\x89PNG\xff", "base64", r#""iVBOR/8=""#),
            (None, b"", "none", "null"),
            (None, b"\xef\xbb\xbf[1]", "json", "[1]"),
            (
                Some("application/json"),
                b"\xef\xbb\xbf{\"a\":1}",
                "json",
                r#"{"a":1}"#,
            ),
            (Some("text/plain"), b"\xef\xbb\xbfx", "text", r#""x""#),
            (None, b"\xef\xbb\xbf", "text", r#""""#),
            (None, b"\xff\xfe[\0", "base64", r#""//5bAA==""#),
        ] {
            let report = report(&response(200, content_type, body));
            assert_eq!(report["body_encoding"], encoding);
            assert_eq!(report["body"].to_string(), expected);
        }
    }

    #[test]
    fn text_has_no_byte_order_mark() {
        for (content_type, body, text) in [
            ("application/json", &b"\xef\xbb\xbf[1]"[..], "[\n  1\n]"),
            ("text/plain", b"\xef\xbb\xbfone\ntwo", "one\ntwo"),
        ] {
            assert_eq!(response(200, Some(content_type), body).body_text(), text);
        }
    }

    #[test]
    fn joins_repeated_headers() {
        let mut response = response(200, None, b"");
        response.headers.append("x-a", "1".parse().unwrap());
        response.headers.append("x-a", "2".parse().unwrap());
        assert_eq!(report(&response)["headers"]["x-a"], "1, 2");
    }

    #[test]
    fn abbreviates_echoed_secret_at_any_position() {
        let secret = format!("eyJhbGciOi{}tail5", "x".repeat(100));
        let short = abbreviated(&secret);
        for (body, expected) in [
            (
                format!(r#"{{"a":"Bearer {secret}","{secret}":["{secret}{secret}"]}}"#),
                format!(r#"{{"a":"Bearer {short}","{short}":["{short}{short}"]}}"#),
            ),
            (secret.clone(), short.clone()),
            (format!("{secret}\n"), format!("{short}\n")),
            (String::new(), String::new()),
            (secret[1..].to_owned(), secret[1..].to_owned()),
        ] {
            let mut echo = response(200, None, b"");
            echo.body = body.into();
            let value = HeaderValue::from_str(&format!("mtls_pop {secret}")).unwrap();
            echo.headers.insert("x-echo", value.clone());
            echo.headers.append("x-echo", value);
            let without = echo.without(&secret);
            assert_eq!(without.body, expected);
            let headers = format!("mtls_pop {short}, mtls_pop {short}");
            assert_eq!(report(&without)["headers"]["x-echo"], headers);
        }
    }

    #[test]
    fn response_without_echo_is_unchanged() {
        let raw = response(200, Some("image/png"), b"\x89PNG\xff\0");
        let without = raw.without("secret");
        assert_eq!((without.body, without.headers), (raw.body, raw.headers));
    }

    #[test]
    fn statuses_map_to_errors() {
        for (status, expected) in [
            (200, None),
            (204, None),
            (304, None),
            (302, Some("redirect_not_allowed")),
            (400, Some("refused")),
            (401, Some("refused")),
            (403, Some("refused")),
            (429, Some("service_unavailable")),
            (503, Some("service_unavailable")),
        ] {
            let error = check_response(&response(status, None, b"")).err();
            assert_eq!(
                error.as_ref().map(|error| error.kind().code()),
                expected,
                "{status}"
            );
            assert!(error.is_none_or(|error| error.stage() == Stage::Resource));
        }
    }

    #[test]
    fn error_includes_error_of_resource() {
        let error = check_response(&response(
            403,
            Some("application/json"),
            br#"{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges"}}"#,
        ))
        .unwrap_err();
        let service = error.service().unwrap();
        assert_eq!(
            service.error.as_deref(),
            Some("Authorization_RequestDenied")
        );
    }

    #[test]
    fn hostile_bodies_have_no_control_characters() {
        for body in [
            &b"\x1b[2J\x1b]0;x\x07"[..],
            "{\"a\":\"\u{202e}\u{9b}31m\"}".as_bytes(),
            b"a\rb\x08\x7f",
        ] {
            let response = BufferedResponse {
                body: Bytes::from_static(body),
                ..response(200, None, b"")
            };
            let text = response.text();
            assert!(
                text.chars().all(|c| c == '\n' || !c.is_control()),
                "{text:?}"
            );
            assert!(!text.contains('\u{202e}'));
        }
    }
}
