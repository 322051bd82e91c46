//! Reading JSON that came from outside: bounded, and with errors that quote nothing of it, since it may hold a secret.
use crate::charset::strip_bom;
use crate::{BoxError, Error, ErrorKind, MAX_BODY, Result, ServiceError, Stage};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};
use std::fmt;

/// Reads an answer's body of at most [`MAX_BODY`] bytes. `what` names it in errors, such as "the token answer". Where
/// the body is an error object instead, the error carries the service's words.
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
        let problem: BoxError = match encoding_instead(body) {
            Some(encoding) => encoding.into(),
            None => JsonProblem::from(&error).into(),
        };
        match ServiceError::parse(body) {
            Some(service) => Error::invalid_response(stage, format!("{what} holds an error"))
                .with_service(Some(service))
                .with_next_step(ErrorKind::Refused.next_step()),
            None => Error::invalid_response(stage, format!("{what} is not the JSON expected"))
                .with_service(words_instead(body, stage)),
        }
        .with_source(problem)
    })
}

/// What the bytes are where they are not UTF-8 (RFC 8259 section 8.1), in the words of an error.
fn encoding_instead(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => Some("it is compressed (gzip), which was not asked for"),
        // No JSON has a NUL; text of this encoding has one beside its first character, which is ASCII.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
            Some("it is UTF-16 or UTF-32, and JSON is UTF-8")
        }
        _ => None,
    }
}

/// What a text in the place of the answer says, unless it may be the secret asked for.
fn words_instead(body: &[u8], stage: Stage) -> Option<ServiceError> {
    let holds_no_secret = matches!(stage, Stage::Metadata | Stage::Credential);
    ServiceError::from_unexpected_response(body).filter(|_| holds_no_secret)
}

/// Reads an object in which no name stands twice, at any depth: of two readers of such text, one may take the first
/// value and the other the last (RFC 7519 section 4 leaves the choice to refuse).
pub(crate) fn read_unique_object(text: &[u8]) -> Result<Map<String, Value>, JsonProblem> {
    match serde_json::from_slice(text) {
        Ok(Unique(Value::Object(object))) => Ok(object),
        Ok(_) => Err(JsonProblem {
            category: Category::Data,
            line: 1,
            column: 1,
        }),
        Err(error) => Err(JsonProblem::from(&error)),
    }
}

/// Where reading JSON failed, without a word of what stood there.
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
            Category::Data => "a member is missing, doubled or of another type",
            Category::Syntax | Category::Io => "the text is not JSON",
        };
        write!(f, "{what} at line {} column {}", self.line, self.column)
    }
}

impl std::error::Error for JsonProblem {}

/// A value whose objects name nothing twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unique(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unique(value))) = access.next_entry::<String, Unique>()? {
            if object.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

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
                read_response::<Wire>(body.as_bytes(), Stage::Token, "the answer").unwrap_err();
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
            read_response::<u8>(&body, Stage::Token, "the answer").unwrap(),
            7
        );
        body.push(b' ');
        let error = read_response::<u8>(&body, Stage::Token, "the answer").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseTooLarge);
        assert_eq!(error.to_string(), "the answer is longer than 1 MiB");
    }

    #[test]
    fn an_error_in_the_place_of_an_answer_keeps_its_words() {
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
            let error = read_response::<u8>(body.as_bytes(), stage, "the answer").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidResponse);
            let service = error.service();
            assert_eq!(service.is_some(), words.is_some(), "{body} {stage}");
            assert!(error.to_string().contains(words.unwrap_or("JSON expected")));
            if body.contains("700027") {
                let service = service.unwrap();
                assert!(service.has_code(700_027) && error.next_step().contains("words"));
                let ids = (
                    service.trace_id.as_deref(),
                    service.correlation_id.as_deref(),
                );
                assert_eq!(ids, (Some("t"), Some("c")));
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let read = |body: &[u8]| read_response::<u8>(body, Stage::Metadata, "the answer").ok();
        assert_eq!(read(b"\xef\xbb\xbf7"), Some(7));
        assert_eq!(read(b"\xef\xbb\xbf\xef\xbb\xbf7"), None);
        assert_eq!(read(b"\xff\xfe7\0"), None);
    }

    #[test]
    fn an_answer_in_another_encoding_is_named_for_what_it_is() {
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
            let error = read_response::<u8>(body, Stage::Token, "the answer").unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains(words), "{body:?} {cause}");
        }
    }

    #[test]
    fn doubled_names_and_values_that_are_no_object_are_refused() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            "[]",
            "7",
            "",
            "{} {}",
        ] {
            assert!(read_unique_object(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        assert!(read_unique_object(deep.as_bytes()).is_err());
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,"é"],"b":{}}"#;
        let object = read_unique_object(text.as_bytes()).unwrap();
        assert_eq!(Value::Object(object).to_string(), text);
    }
}
