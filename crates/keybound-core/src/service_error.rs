mod first_line;
mod repeated_secret;

use crate::charset::decode_text;
use crate::json::lenient::{self, Duplicates};
use crate::{Challenge, SecretString, redact};
use first_line::first_line;
use repeated_secret::RepeatedSecret;
use serde_json::{Map, Value};

/// The error in a service's response: the OAuth error of Entra (RFC 6749 section 5.2 with Entra's additions), the error
/// object of IMDS, MAA or a resource, or the first line of plain text. All text is bounded, printable and redacted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceError {
    /// `error`, `error.code` or `code`.
    pub error: Option<String>,
    /// `error_description`, `error.message`, `message` or `detail`; otherwise the first line of the text.
    pub description: Option<String>,
    /// `error_codes`: the AADSTS codes. Empty if there are none.
    pub codes: Vec<u64>,
    /// `trace_id`.
    pub trace_id: Option<String>,
    /// `correlation_id`, or `correlationId` from IMDS.
    pub correlation_id: Option<String>,
    /// `timestamp`, unparsed.
    pub timestamp: Option<String>,
}

impl ServiceError {
    /// Parses an error object of at most 64 KiB, in UTF-8 or in the encoding of its byte order mark; of an array the first
    /// one counts. `None` for any other body (HTML, empty, garbage). A member of another type than expected is ignored.
    pub fn parse(body: &[u8]) -> Option<Self> {
        Self::parse_without(body, None)
    }

    /// Parses the response to a request that contained a secret, as [`parse`](Self::parse). The service may repeat the secret:
    /// `[redacted]` replaces it, and parts of it of 8 letters and digits or more, also if they are percent-encoded or broken by other
    /// characters.
    pub fn parse_without(body: &[u8], secret: Option<&SecretString>) -> Option<Self> {
        if body.len() > MAX_BODY {
            return None;
        }
        let value = lenient::parse(&decode_text(body), Duplicates::LastWins)?;
        Self::of_value(&RepeatedSecret::new(secret).remove_from_value(value))
    }

    /// Reads an error response of at most 64 KiB: an error object as by [`parse`](Self::parse); otherwise the first line of
    /// the text or the title of the page is the description. `None` if there is no printable text.
    ///
    /// Not for responses that may contain a secret instead of an error.
    pub fn from_response(body: &[u8]) -> Option<Self> {
        Self::from_response_without(body, None)
    }

    /// Reads the error response to a request that contained a secret, as [`from_response`](Self::from_response). The service may
    /// repeat the secret, which is replaced as by [`parse_without`](Self::parse_without).
    pub fn from_response_without(body: &[u8], secret: Option<&SecretString>) -> Option<Self> {
        if body.len() > MAX_BODY {
            return None;
        }
        let text = decode_text(body);
        let value = lenient::parse(&text, Duplicates::LastWins);
        // Before the text is shortened, which may leave less of the secret than is recognized.
        let secret = RepeatedSecret::new(secret);
        let value = value.map(|value| secret.remove_from_value(value));
        let text = secret.remove_from(&text);
        if let Some(error) = value.as_ref().and_then(Self::of_value) {
            return Some(error);
        }
        let description = match value {
            Some(Value::String(text)) => first_line(&text),
            Some(Value::Null) => None,
            Some(Value::Array(items)) if items.is_empty() => None,
            Some(Value::Object(members)) if members.is_empty() => None,
            Some(other) => first_line(&other.to_string()),
            None => first_line(&text),
        };
        Some(Self {
            description: Some(description?),
            ..Self::default()
        })
    }

    /// Reads the error in a value of `WWW-Authenticate` (RFC 6750 section 3): that of the first challenge with one. For a response whose
    /// body has none.
    pub fn from_challenge(value: &[u8]) -> Option<Self> {
        Challenge::parse_all(value).iter().find_map(|challenge| {
            let text = |name: &str| {
                let text = challenge.parameter(name)?;
                (!text.trim().is_empty()).then(|| redact(text))
            };
            let (error, description) = (text("error"), text("error_description"));
            if error.is_none() && description.is_none() {
                return None;
            }
            Some(Self {
                error,
                description,
                ..Self::default()
            })
        })
    }

    /// Reads an unexpected response with a status of success: as [`from_response`](Self::from_response), but JSON that is not
    /// an error object may be a malformed response and is ignored.
    ///
    /// Not for responses that may contain a secret.
    pub fn from_unexpected_response(body: &[u8]) -> Option<Self> {
        let is_json = decode_text(body).trim_start().starts_with(['{', '[', '"']);
        if is_json {
            Self::parse(body)
        } else {
            Self::from_response(body)
        }
    }

    fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Object(object) => Self::of_object(object),
            // The first one with an error.
            Value::Array(items) => {
                let mut objects = items.iter().filter_map(Value::as_object);
                objects.find_map(Self::of_object)
            }
            _ => None,
        }
    }

    fn of_object(object: &Map<String, Value>) -> Option<Self> {
        let nested = ["error", "errors"].iter().find_map(|name| {
            let value = member(object, name)?;
            Self::of_value(value).filter(|_| !value.is_string())
        });
        let nested = nested.unwrap_or_default();
        let text = |names: &[&str]| names.iter().find_map(|name| text(object, name));
        let error = text(&["error"])
            .or(nested.error)
            .or_else(|| text(&["code"]));
        let description = text(&["error_description"])
            .or(nested.description)
            .or_else(|| text(&["message", "detail"]));
        if error.is_none() && description.is_none() {
            return None;
        }
        let codes = codes(object);
        Some(Self {
            error,
            description,
            codes: if codes.is_empty() {
                nested.codes
            } else {
                codes
            },
            trace_id: text(&["trace_id", "traceId"]).or(nested.trace_id),
            correlation_id: text(&["correlation_id", "correlationId"]).or(nested.correlation_id),
            timestamp: text(&["timestamp"]).or(nested.timestamp),
        })
    }

    /// Whether the response has this AADSTS code.
    pub fn has_code(&self, code: u64) -> bool {
        self.codes.contains(&code)
    }
}

/// The member of this name, or, if there is none, of this name in another case (`Message`).
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        let mut members = object.iter();
        let found = members.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    })
}

fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    let text = member(object, name)?.as_str()?;
    (!text.trim().is_empty()).then(|| redact(text))
}

/// The codes, numbers or numbers in strings.
fn codes(object: &Map<String, Value>) -> Vec<u64> {
    let codes = match member(object, "error_codes") {
        Some(Value::Array(codes)) => codes.as_slice(),
        Some(code) => std::slice::from_ref(code),
        None => &[],
    };
    let number = |code: &Value| code.as_u64().or_else(|| code.as_str()?.parse().ok());
    codes.iter().filter_map(number).take(MAX_CODES).collect()
}

const MAX_BODY: usize = 64 * 1024;
const MAX_CODES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_have_the_error_of_a_response_without_a_body() {
        let read = |value: &str| ServiceError::from_challenge(value.as_bytes());
        let error = read(
            r#"Negotiate, mtls_pop realm="", error="insufficient_scope", error_description="the token lacks a required role""#,
        )
        .unwrap();
        assert_eq!(error.error.as_deref(), Some("insufficient_scope"));
        let description = error.description.unwrap();
        assert_eq!(description, "the token lacks a required role");
        let control = read("Bearer error_description=\"a\tb swordfish\"").unwrap();
        assert!(!control.description.unwrap().contains('\t'));
        for without in [
            "",
            "Bearer",
            r#"mtls_pop realm="a""#,
            r#"Bearer error="", error_description=" ""#,
        ] {
            assert_eq!(read(without), None, "{without}");
        }
    }

    #[test]
    fn parses_error_of_entra() {
        let error = ServiceError::parse(
            br#"{"error":"invalid_client","error_description":"AADSTS1000610: no\r\nTrace","error_codes":[1000610],
                "timestamp":"2026-01-01 00:00:00Z","trace_id":"t","correlation_id":"c"}"#,
        )
        .unwrap();
        assert_eq!(error.error.as_deref(), Some("invalid_client"));
        assert!(error.has_code(1_000_610) && !error.has_code(1_000_611));
        assert_eq!(error.trace_id.as_deref(), Some("t"));
        assert!(!error.description.unwrap().contains('\n'));
    }

    #[test]
    fn parses_both_names_of_correlation_id() {
        for (members, expected) in [
            (r#""correlation_id":"entra""#, Some("entra")),
            (r#""correlationId":"imds""#, Some("imds")),
            (
                r#""correlationId":"imds","correlation_id":"entra""#,
                Some("entra"),
            ),
            (r#""correlationId":"imds","correlation_id":7"#, Some("imds")),
            (r#""correlationId":{}"#, None),
        ] {
            let body = format!(r#"{{"error":"invalid_request",{members}}}"#);
            let error = ServiceError::parse(body.as_bytes()).unwrap();
            assert_eq!(error.correlation_id.as_deref(), expected, "{members}");
        }
    }

    #[test]
    fn parses_error_of_key_vault() {
        let error =
            ServiceError::parse(br#"{"error":{"code":"Unauthorized","message":"no"}}"#).unwrap();
        assert_eq!(error.error.as_deref(), Some("Unauthorized"));
        assert_eq!(error.description.as_deref(), Some("no"));
    }

    #[test]
    fn ignores_html_and_garbage() {
        for body in [&b"<html>"[..], b"", b"[]", b"{}", b"\xff\xfe", b"\"x\""] {
            assert_eq!(ServiceError::parse(body), None);
        }
    }

    #[test]
    fn ignores_members_of_another_type() {
        let error = ServiceError::parse(
            br#"{"error":"invalid_client","error_description":7,"error_codes":["x",-1,1000611,null],"trace_id":{}}"#,
        )
        .unwrap();
        assert_eq!(error.error.as_deref(), Some("invalid_client"));
        assert_eq!(error.description, None);
        assert_eq!(error.codes, [1_000_611]);
        assert_eq!(error.trace_id, None);
        let object = ServiceError::parse(br#"{"error":{"code":7,"message":"no"}}"#).unwrap();
        assert_eq!(
            (object.error, object.description.as_deref()),
            (None, Some("no"))
        );
        assert_eq!(ServiceError::parse(br#"{"error":{}}"#), None);
        assert_eq!(ServiceError::parse(br#"{"error":7}"#), None);
    }

    #[test]
    fn parses_other_forms_of_error_objects() {
        for (body, error, description) in [
            (
                r#"[{"error":{"code":"a","message":"b"}},{"error":"c"}]"#,
                "a",
                "b",
            ),
            (r#"[7,{"error":"a","error_description":"b"}]"#, "a", "b"),
            (r#"{"errors":[{"code":"a","message":"b"}]}"#, "a", "b"),
            (r#"{"error":[{"code":"a","message":"b"}]}"#, "a", "b"),
            (
                r#"{"error":{"error":{"code":"a","message":"b"}}}"#,
                "a",
                "b",
            ),
            (r#"{"code":"a","message":"b"}"#, "a", "b"),
            (r#"{"Code":"a","Message":"b"}"#, "a", "b"),
            (r#"{"title":"x","detail":"b","code":"a"}"#, "a", "b"),
            (
                r#"{"error":"a","error_description":"b","message":"c"}"#,
                "a",
                "b",
            ),
            (r#"{"error":"a","error":"a","message":"b"}"#, "a", "b"),
            (
                r#"{"error":"a","message":"b","x":["\ud800",1e400]}"#,
                "a",
                "b",
            ),
            ("\u{feff}{\"error\":\"a\",\"message\":\"b\"}", "a", "b"),
        ] {
            for read in [ServiceError::parse, ServiceError::from_response] {
                let read = read(body.as_bytes()).expect(body);
                let texts = (read.error.as_deref(), read.description.as_deref());
                assert_eq!(texts, (Some(error), Some(description)), "{body}");
            }
        }
        let utf16: Vec<u8> = "\u{feff}{\"error\":\"a\"}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(
            ServiceError::parse(&utf16).unwrap().error.as_deref(),
            Some("a")
        );
        let latin_1 = ServiceError::parse(b"{\"error\":\"a\",\"message\":\"v\xe1lido\"}").unwrap();
        assert_eq!(latin_1.description.as_deref(), Some("v\u{fffd}lido"));
    }

    #[test]
    fn finds_codes_and_ids_in_every_form() {
        for body in [
            r#"{"error":"e","error_codes":[700027],"trace_id":"t","correlation_id":"c"}"#,
            r#"{"error":"e","error_codes":["700027"],"traceId":"t","correlationId":"c"}"#,
            r#"{"error":"e","error_codes":700027,"trace_id":"t","correlation_id":"c"}"#,
            r#"{"error":{"code":"e","error_codes":[700027],"trace_id":"t","correlationId":"c"}}"#,
            r#"{"error":{"code":"e"},"error_codes":[700027],"trace_id":"t","correlationId":"c"}"#,
        ] {
            let read = ServiceError::parse(body.as_bytes()).unwrap();
            assert_eq!(read.codes, [700_027], "{body}");
            assert_eq!(read.trace_id.as_deref(), Some("t"), "{body}");
            assert_eq!(read.correlation_id.as_deref(), Some("c"), "{body}");
        }
    }

    #[test]
    fn describes_text_that_is_not_an_error_object() {
        for (body, description) in [
            (&b"pod list is empty"[..], Some("pod list is empty")),
            (
                b"\xef\xbb\xbfpod list is empty\r\n",
                Some("pod list is empty"),
            ),
            (b"\xff\xfen\0o\0", Some("no")),
            (b"<html><title>403 Forbidden</title>", Some("403 Forbidden")),
            (b"\"pod list is empty\"", Some("pod list is empty")),
            (br#"{"reason":"no"}"#, Some(r#"{"reason":"no"}"#)),
            (
                br#"{"error":"","message":" "}"#,
                Some(r#"{"error":"","message":" "}"#),
            ),
            (b"[1]", Some("[1]")),
            (b"{}", None),
            (b"[]", None),
            (b"null", None),
            (b"", None),
            (b"\x1f\x8b\x08\x00\x00", None),
        ] {
            let read = ServiceError::from_response(body);
            let read = read.and_then(|read| read.description);
            assert_eq!(read.as_deref(), description, "{body:?}");
            assert_eq!(ServiceError::parse(body), None, "{body:?}");
        }
        let secret = ServiceError::from_response(br#"{"access_token":"swordfish"}"#).unwrap();
        assert!(!format!("{secret:?}").contains("swordfish"));
    }

    #[test]
    fn bounded_input() {
        let body =
            |codes: usize| format!(r#"{{"error":"e","error_codes":[{}0]}}"#, "1,".repeat(codes));
        assert_eq!(
            ServiceError::parse(body(100).as_bytes())
                .unwrap()
                .codes
                .len(),
            MAX_CODES
        );
        let sized = |length: usize| format!(r#"{{"error":"e"}}{}"#, " ".repeat(length - 13));
        for read in [ServiceError::parse, ServiceError::from_response] {
            assert!(read(sized(65_536).as_bytes()).is_some());
            assert_eq!(read(sized(65_537).as_bytes()), None);
        }
    }

    #[test]
    fn secrets_of_the_request_stay_secret() {
        let guid = "7c5e6a0e-1f2b-4d3c-8a9b-0c1d2e3f4a5b";
        let escaped: String = guid
            .chars()
            .map(|c| format!("\\u{:04x}", c as u32))
            .collect();
        for body in [
            format!("Invalid secret token header: {guid}"),
            format!("Invalid secret token header: {}.", guid.to_uppercase()),
            format!("\"{guid}\""),
            format!(r#"{{"statusCode":401,"message":"header {guid}, {guid}"}}"#),
            format!(r#"{{"error":"{guid}","trace_id":"{guid}","timestamp":"{guid}"}}"#),
            format!(r#"[{{"error":{{"code":"{escaped}","message":"no"}}}}]"#),
            format!(r#"{{"{guid}":"x","values":["{guid}"]}}"#),
            format!("<html><title>{guid}</title></html>"),
            format!("{}{guid}", "a,".repeat(500)),
        ] {
            let secret = SecretString::new(guid.to_owned());
            let error = ServiceError::from_response_without(body.as_bytes(), Some(&secret));
            let parsed = ServiceError::parse_without(body.as_bytes(), Some(&secret));
            let shown = format!("{:?} {parsed:?}", error.unwrap()).to_lowercase();
            assert!(!shown.contains(&guid[..8]), "{body}: {shown}");
        }
        let read = |body: &str, secret: &str| {
            let secret = SecretString::new(secret.to_owned());
            ServiceError::from_response_without(body.as_bytes(), Some(&secret))
        };
        let kept = read("no header", "hunter2!").unwrap();
        assert_eq!(kept.description.as_deref(), Some("no header"));
        let odd = read("key a:b!c no", "a:b!c").unwrap();
        assert_eq!(odd.description.as_deref(), Some("key [redacted] no"));
        let number = read(r#"{"reason":1234567890}"#, "1234567890").unwrap();
        let number = number.description.unwrap();
        assert!(!number.contains("1234567890"), "{number}");
        assert_eq!(read("no", "").unwrap().description.as_deref(), Some("no"));
    }

    #[test]
    fn secrets_stay_secret_in_every_member() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln";
        let body = [
            "error",
            "error_description",
            "trace_id",
            "correlation_id",
            "timestamp",
        ]
        .map(|name| format!(r#""{name}":"{jwt}\u001b[2J""#))
        .join(",");
        let error = ServiceError::parse(format!("{{{body}}}").as_bytes()).unwrap();
        let shown = format!("{error:?}");
        assert!(
            !shown.contains("eyJ") && !shown.contains("u{1b}"),
            "{shown}"
        );
        assert_eq!(shown.matches("[redacted]").count(), 5);
    }
}
