use crate::redact;
use serde_json::{Map, Value};

/// What a service said of its refusal: the OAuth error of Entra (RFC 6749 section 5.2 with Entra's additions) or the
/// error object of IMDS, MAA or a resource. All text is bounded, free of control characters and of anything that looks
/// like a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceError {
    /// `error`, or `error.code`.
    pub error: Option<String>,
    /// `error_description`, or `error.message`.
    pub description: Option<String>,
    /// `error_codes`: the numbers of AADSTS. Empty where the service gave none.
    pub codes: Vec<u64>,
    /// `trace_id`.
    pub trace_id: Option<String>,
    /// `correlation_id`.
    pub correlation_id: Option<String>,
    /// `timestamp`, as the service wrote it.
    pub timestamp: Option<String>,
}

impl ServiceError {
    /// Reads an error body of at most 64 KiB; `None` where it is not one of the known shapes (HTML, empty, garbage). A
    /// member of another type than expected counts as absent: half an explanation is better than none.
    pub fn parse(body: &[u8]) -> Option<Self> {
        if body.len() > LONGEST_BODY {
            return None;
        }
        let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let object = body.get("error").and_then(Value::as_object);
        let error = text(&body, "error").or_else(|| text(object?, "code"));
        let description = text(&body, "error_description")
            .or_else(|| text(object?, "message"))
            .or_else(|| text(&body, "message"));
        if error.is_none() && description.is_none() {
            return None;
        }
        Some(Self {
            error,
            description,
            codes: codes(&body),
            trace_id: text(&body, "trace_id"),
            correlation_id: text(&body, "correlation_id"),
            timestamp: text(&body, "timestamp"),
        })
    }

    /// Whether Entra gave this AADSTS number.
    pub fn has_code(&self, code: u64) -> bool {
        self.codes.contains(&code)
    }
}

fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(redact)
}

fn codes(body: &Map<String, Value>) -> Vec<u64> {
    let codes = body.get("error_codes").and_then(Value::as_array);
    let codes = codes.into_iter().flatten().filter_map(Value::as_u64);
    codes.take(MOST_CODES).collect()
}

/// Error bodies are small.
const LONGEST_BODY: usize = 64 * 1024;
const MOST_CODES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entra_error_is_read_whole() {
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
    fn vault_error_object_is_read() {
        let error =
            ServiceError::parse(br#"{"error":{"code":"Unauthorized","message":"no"}}"#).unwrap();
        assert_eq!(error.error.as_deref(), Some("Unauthorized"));
        assert_eq!(error.description.as_deref(), Some("no"));
    }

    #[test]
    fn html_and_garbage_are_no_service_error() {
        for body in [&b"<html>"[..], b"", b"[]", b"{}", b"\xff\xfe", b"\"x\""] {
            assert_eq!(ServiceError::parse(body), None);
        }
    }

    #[test]
    fn members_of_another_type_count_as_absent() {
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
    fn bounded_input() {
        let body =
            |codes: usize| format!(r#"{{"error":"e","error_codes":[{}0]}}"#, "1,".repeat(codes));
        assert_eq!(
            ServiceError::parse(body(100).as_bytes())
                .unwrap()
                .codes
                .len(),
            MOST_CODES
        );
        let sized = |length: usize| format!(r#"{{"error":"e"}}{}"#, " ".repeat(length - 13));
        assert!(ServiceError::parse(sized(65_536).as_bytes()).is_some());
        assert_eq!(ServiceError::parse(sized(65_537).as_bytes()), None);
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
