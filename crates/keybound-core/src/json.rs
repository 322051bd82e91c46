//! Parses JSON from services: bounded, and with errors that quote nothing of it, since it may contain a secret.
pub(crate) mod lenient;

use crate::charset::strip_bom;
use crate::{BoxError, Error, ErrorKind, MAX_BODY, Result, ServiceError, Stage};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::fmt;

/// Parses the body of a response, at most [`MAX_BODY`] bytes. `what` names it in errors, such as "the token response". If
/// the body is an error object, it becomes the error's [`ServiceError`].
pub(crate) fn read_response<T: DeserializeOwned>(
    body: &[u8],
    stage: Stage,
    what: &'static str,
) -> Result<T> {
    if body.len() > MAX_BODY {
        return Err(Error::new(
            ErrorKind::ResponseTooLarge,
            stage,
            format!("{what} is longer than 1 MiB"),
        ));
    }
    serde_json::from_slice(strip_bom(body)).map_err(|error| {
        let problem: BoxError = match other_encoding(body) {
            Some(encoding) => encoding.into(),
            None => JsonProblem::from(&error).into(),
        };
        match ServiceError::parse(body) {
            Some(service) => Error::invalid_response(stage, format!("{what} contains an error"))
                .with_service(Some(service))
                .with_next_step(ErrorKind::Refused.next_step()),
            None => Error::invalid_response(stage, format!("{what} is not the JSON expected"))
                .with_service(text_of_error(body, stage)),
        }
        .with_source(problem)
    })
}

/// Describes the encoding if it is not UTF-8 (RFC 8259 section 8.1).
fn other_encoding(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => Some("it is compressed (gzip), which was not requested"),
        // JSON contains no NUL; in these encodings there is one next to the first character, which is ASCII.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
            Some("it is UTF-16 or UTF-32, and JSON is UTF-8")
        }
        _ => None,
    }
}

/// The error that text in place of the response describes, unless the text may be the requested secret.
fn text_of_error(body: &[u8], stage: Stage) -> Option<ServiceError> {
    let has_no_secret = matches!(stage, Stage::Metadata | Stage::Credential);
    ServiceError::from_unexpected_response(body).filter(|_| has_no_secret)
}

/// What is wrong with JSON and where, without any of its text.
#[derive(Debug)]
pub(crate) struct JsonProblem {
    category: Category,
    line: usize,
    column: usize,
}

impl From<&serde_json::Error> for JsonProblem {
    fn from(error: &serde_json::Error) -> Self {
        Self {
            category: error.classify(),
            line: error.line(),
            column: error.column(),
        }
    }
}

impl fmt::Display for JsonProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.category {
            Category::Eof => "the text ends within a value",
            Category::Data => "a member is missing, duplicate or of another type",
            Category::Syntax | Category::Io => "the text is not JSON",
        };
        write!(f, "{what} at line {} column {}", self.line, self.column)
    }
}

impl std::error::Error for JsonProblem {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn secrets_stay_secret_in_the_cause() {
        #[derive(Debug, serde::Deserialize)]
        struct Wire {
            #[expect(dead_code, reason = "read only")]
            number: u8,
        }
        for body in [
            r#"{"number":"swordfish"}"#,
            r#"{"number":swordfish}"#,
            r#"{"number":7,"swordfish":1,"number":8}"#,
            r#""swordfish"#,
            r#""swordfish""#,
        ] {
            let error =
                read_response::<Wire>(body.as_bytes(), Stage::Token, "the response").unwrap_err();
            let source = error.source().unwrap();
            assert!(
                !format!("{error} {error:?} {source} {source:?}").contains("swordfish"),
                "{body}"
            );
            assert!(source.to_string().contains("line 1 column"), "{source}");
        }
    }

    #[test]
    fn bounded_input() {
        let mut body = b"7".to_vec();
        body.resize(MAX_BODY, b' ');
        assert_eq!(
            read_response::<u8>(&body, Stage::Token, "the response").unwrap(),
            7
        );
        body.push(b' ');
        let error = read_response::<u8>(&body, Stage::Token, "the response").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseTooLarge);
        assert_eq!(error.to_string(), "the response is longer than 1 MiB");
    }

    #[test]
    fn returns_error_in_place_of_a_response() {
        let object = r#"{"error":"invalid_client","error_codes":[700027],"trace_id":"t","correlationId":"c"}"#;
        let marked = format!("\u{feff}{object}");
        for (body, stage, words) in [
            (object, Stage::Metadata, Some("invalid_client")),
            (object, Stage::Credential, Some("invalid_client")),
            (object, Stage::Token, Some("invalid_client")),
            (&marked, Stage::Token, Some("invalid_client")),
            (
                "pod list is empty",
                Stage::Metadata,
                Some("pod list is empty"),
            ),
            ("pod list is empty", Stage::Token, None),
            (r#"{"access_token":"x"}"#, Stage::Token, None),
            (r#"{"certificate":"x","#, Stage::Credential, None),
            (r#"["x"]"#, Stage::Metadata, None),
        ] {
            let error = read_response::<u8>(body.as_bytes(), stage, "the response").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidResponse);
            let service = error.service();
            assert_eq!(service.is_some(), words.is_some(), "{body} {stage}");
            assert!(error.to_string().contains(words.unwrap_or("JSON expected")));
            if body.contains("700027") {
                let service = service.unwrap();
                assert!(service.has_code(700_027) && error.next_step().contains("error"));
                let ids = (
                    service.trace_id.as_deref(),
                    service.correlation_id.as_deref(),
                );
                assert_eq!(ids, (Some("t"), Some("c")));
            }
        }
    }

    #[test]
    fn ignores_byte_order_mark() {
        let read = |body: &[u8]| read_response::<u8>(body, Stage::Metadata, "the response").ok();
        assert_eq!(read(b"\xef\xbb\xbf7"), Some(7));
        assert_eq!(read(b"\xef\xbb\xbf\xef\xbb\xbf7"), None);
        assert_eq!(read(b"\xff\xfe7\0"), None);
    }

    #[test]
    fn names_other_encodings() {
        for (body, words) in [
            (&b"\x1f\x8b\x08\x00"[..], "gzip"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b"\xfe\xff\0{\0}", "UTF-16"),
            (b"{\0}\0", "UTF-16"),
            (b"\0{\0}", "UTF-16"),
            (b"{\0\0\0}\0\0\0", "UTF-32"),
            (b"<html>", "not JSON"),
            (b"", "ends within"),
            (b"\0", "not JSON"),
        ] {
            let error = read_response::<u8>(body, Stage::Token, "the response").unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains(words), "{body:?} {cause}");
        }
    }
}
