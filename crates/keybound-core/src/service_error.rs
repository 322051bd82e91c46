use serde::Deserialize;

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
    /// Reads an error body; `None` where it is not one of the known shapes (HTML, empty, garbage).
    pub fn parse(body: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(body.get(..body.len().min(LONGEST_BODY))?).ok()?;
        let clean = |text: Option<String>| text.map(|text| redact(&text));
        let (error, message) = match wire.error {
            Some(WireError::Word(word)) => (Some(word), None),
            Some(WireError::Object { code, message }) => (code, message),
            None => (None, None),
        };
        let description = wire.error_description.or(message).or(wire.message);
        if error.is_none() && description.is_none() {
            return None;
        }
        Some(Self {
            error: clean(error),
            description: clean(description),
            codes: wire
                .error_codes
                .unwrap_or_default()
                .into_iter()
                .take(16)
                .collect(),
            trace_id: clean(wire.trace_id),
            correlation_id: clean(wire.correlation_id),
            timestamp: clean(wire.timestamp),
        })
    }

    /// Whether Entra gave this AADSTS number.
    pub fn has_code(&self, code: u64) -> bool {
        self.codes.contains(&code)
    }
}

/// Makes a service's text fit for logs and terminals: at most 1024 characters, control and bidirectional-override
/// characters replaced, and runs that look like tokens, keys or certificates left out.
pub fn redact(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for character in text.chars().take(LONGEST_TEXT) {
        if is_token_character(character) {
            run.push(character);
            continue;
        }
        flush(&mut run, &mut out);
        out.push(if is_unsafe(character) {
            '\u{fffd}'
        } else {
            character
        });
    }
    flush(&mut run, &mut out);
    out
}

fn flush(run: &mut String, out: &mut String) {
    let looks_secret = run.len() > LONGEST_WORD || (run.contains("eyJ") && run.len() > 8);
    out.push_str(if looks_secret { "[redacted]" } else { run });
    run.clear();
}

fn is_token_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.+/=~".contains(character)
}

/// Control characters, and the ones that reorder or hide what a terminal shows.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[derive(Deserialize)]
struct Wire {
    error: Option<WireError>,
    error_description: Option<String>,
    message: Option<String>,
    error_codes: Option<Vec<u64>>,
    trace_id: Option<String>,
    correlation_id: Option<String>,
    timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireError {
    Word(String),
    Object {
        code: Option<String>,
        message: Option<String>,
    },
}

/// Error bodies are small; one that is not is cut, and then fails to parse.
const LONGEST_BODY: usize = 64 * 1024;
const LONGEST_TEXT: usize = 1024;
/// Longer than any word, GUID, host name or short URL that a service writes; shorter than any token, key or
/// certificate.
const LONGEST_WORD: usize = 128;

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
        assert!(error.has_code(1_000_610));
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
    fn secrets_stay_secret_in_service_text() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln";
        let text = redact(&format!(
            "got token {jwt} from you, key {}",
            "A".repeat(200)
        ));
        assert_eq!(text, "got token [redacted] from you, key [redacted]");
    }

    #[test]
    fn terminal_controls_are_replaced() {
        let text = redact("\u{1b}[31mred\u{202e}");
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{202e}'),
            "{text:?}"
        );
    }
}
