//! A parser for JSON of which only some members are used: values elsewhere that cannot be represented are replaced. An
//! escaped lone surrogate becomes U+FFFD, a number out of range becomes the largest one, and a value that is nested too deeply becomes
//! null. Text that is not JSON is an error.
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;

/// How duplicate names in an object are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// They are an error: two parsers may use different values (RFC 7519 section 4).
    Rejected,
    /// The last one counts.
    LastWins,
}

/// Parses one JSON value.
pub(crate) fn parse(text: &str, duplicates: Duplicates) -> Option<Value> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    value(raw, duplicates, MAX_DEPTH)
}

/// `raw` is valid JSON: what fails below is a value that cannot be represented.
fn value(raw: &RawValue, duplicates: Duplicates, depth: usize) -> Option<Value> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'{' | b'[' if depth == 0 => Some(Value::Null),
        b'{' => {
            let Members(members) = serde_json::from_str(text).ok()?;
            let mut object = Map::new();
            for (Text(name), member) in members {
                let member = value(member, duplicates, depth - 1)?;
                if object.insert(name, member).is_some() && duplicates == Duplicates::Rejected {
                    return None;
                }
            }
            Some(Value::Object(object))
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items = items
                .into_iter()
                .map(|item| value(item, duplicates, depth - 1));
            items.collect::<Option<_>>().map(Value::Array)
        }
        b'"' => {
            let Text(text) = serde_json::from_str(text).ok()?;
            Some(text.into())
        }
        b'-' => Some(serde_json::from_str(text).unwrap_or(f64::MIN.into())),
        _ => Some(serde_json::from_str(text).unwrap_or(f64::MAX.into())),
    }
}

/// The members of an object, in order.
struct Members<'a>(Vec<(Text, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// A JSON string. Read as bytes: only then does serde_json return one with a lone surrogate.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
        Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
    }
}

/// Less than the limit of serde_json (128), so that a parsed value can be written and parsed again.
const MAX_DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> Option<Value> {
        super::parse(text, Duplicates::Rejected)
    }

    #[test]
    fn parses_ordinary_json_as_serde_json_does() {
        for text in [
            r#" {"a":[null,true,false,-1,18446744073709551615,1.5,"\u00e9\n"],"b":{}} "#,
            "[]",
            r#""x""#,
            "7",
            "-0.5e3",
            "null",
        ] {
            let strict: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text), Some(strict), "{text}");
        }
    }

    #[test]
    fn replaces_unrepresentable_values() {
        let text = r#"{"exp":1,"\ud800":"a\ud800b","n":[1e400,-1e400,{"x":"\udc00"}],"tid":"t"}"#;
        let value = parse(text).unwrap();
        assert_eq!((&value["exp"], &value["tid"]), (&json!(1), &json!("t")));
        let numbers = json!([f64::MAX, f64::MIN, {"x": "\u{fffd}\u{fffd}\u{fffd}"}]);
        assert_eq!(value["n"], numbers);
        let deep = |levels: usize, begin: &str, end: &str| {
            let nested = format!("{}1{}", begin.repeat(levels), end.repeat(levels));
            parse(&format!(r#"{{"deep":{nested},"exp":7}}"#)).unwrap()
        };
        for levels in [1, 99, 100, 101, 5000] {
            for value in [deep(levels, "[", "]"), deep(levels, r#"{"a":"#, "}")] {
                assert_eq!(value["exp"], 7, "{levels}");
                // The written value can be parsed again.
                assert_eq!(
                    serde_json::from_str::<Value>(&value.to_string()).unwrap(),
                    value
                );
            }
        }
    }

    #[test]
    fn rejects_duplicates_and_invalid_json() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":[{"b":1,"b":1e400}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            "",
            "{",
            "{} {}",
            r#"{"a":tru}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":01}"#,
            "{\"a\":\"\n\"}",
            "\u{feff}{}",
            r#"{"a":1,}"#,
            "nul",
            "- 1",
            "-",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let last = super::parse(r#"{"a":1,"a":2}"#, Duplicates::LastWins);
        assert_eq!(last, Some(json!({"a": 2})));
    }
}
