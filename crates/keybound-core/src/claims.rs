use crate::json::read_unique_object;
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::fmt;

/// A claims request: the JSON object that a resource's challenge carries (OpenID Connect Core section 5.5).
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads the JSON text, at most 64 KiB.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) where it is longer, not a JSON object, or names a
    /// member twice.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > LONGEST {
            return Err(Error::invalid_request("claims are longer than 64 KiB"));
        }
        read_unique_object(text.as_bytes())
            .map(Self)
            .map_err(|problem| {
                Error::invalid_request("claims are not a JSON object").with_source(problem)
            })
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(…)")
    }
}

/// The `claims` parameter of a token request: the challenge's claims with the client's capabilities (`cp1`) as
/// `access_token.xms_cc.values`. `None` where there is nothing to say.
///
/// The capabilities are the client's to declare: whatever the claims say of `xms_cc`, at any depth, is dropped, so that no
/// resource makes Entra believe that the client handles what it does not.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) where the claims have a member `access_token` of another
/// shape (null counts as absent).
pub fn merge_capabilities(
    claims: Option<&Claims>,
    capabilities: &[String],
) -> Result<Option<String>> {
    let mut merged = claims.map(|claims| claims.0.clone()).unwrap_or_default();
    let was_empty = merged.is_empty();
    drop_capabilities(&mut merged);
    if !capabilities.is_empty() {
        let access_token = object_in(&mut merged, "access_token")?;
        access_token.insert(CAPABILITIES.to_owned(), json!({ "values": capabilities }));
    }
    let nothing_to_say = merged.is_empty() && (claims.is_none() || !was_empty);
    Ok((!nothing_to_say).then(|| Value::Object(merged).to_string()))
}

/// Drops all members `xms_cc`, and the objects that are empty without them.
fn drop_capabilities(object: &mut Map<String, Value>) {
    object.retain(|name, value| {
        let was_empty = value.as_object().is_some_and(Map::is_empty);
        drop_capabilities_in(value);
        let is_empty = value.as_object().is_some_and(Map::is_empty);
        !name.eq_ignore_ascii_case(CAPABILITIES) && (was_empty || !is_empty)
    });
}

/// Nested no deeper than the reader of JSON allows.
fn drop_capabilities_in(value: &mut Value) {
    match value {
        Value::Object(object) => drop_capabilities(object),
        Value::Array(values) => values.iter_mut().for_each(drop_capabilities_in),
        _ => {}
    }
}

fn object_in<'a>(
    object: &'a mut Map<String, Value>,
    name: &str,
) -> Result<&'a mut Map<String, Value>> {
    let value = object.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().ok_or_else(another_shape)
}

fn another_shape() -> Error {
    Error::invalid_request("claims have a member of another shape than the capabilities need")
}

const CAPABILITIES: &str = "xms_cc";
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn capabilities_join_the_claims_that_are_there() {
        let claims = Claims::parse(
            r#"{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":null}}"#,
        )
        .unwrap();
        let merged = merge_capabilities(Some(&claims), &["cp1".into()])
            .unwrap()
            .unwrap();
        let merged: Value = serde_json::from_str(&merged).unwrap();
        assert_eq!(merged["access_token"]["nbf"]["value"], "1");
        assert_eq!(merged["access_token"]["xms_cc"]["values"], json!(["cp1"]));
    }

    #[test]
    fn nothing_to_say_is_none_and_capabilities_alone_are_enough() {
        assert_eq!(merge_capabilities(None, &[]).unwrap(), None);
        assert_eq!(
            merge_capabilities(None, &["cp1".into()]).unwrap().unwrap(),
            r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#
        );
    }

    #[test]
    fn claims_of_another_shape_are_refused() {
        for text in ["", "[]", "1", "{", "null", r#"{"a":1,"a":2}"#] {
            assert!(Claims::parse(text).is_err(), "{text:?}");
        }
        let odd = Claims::parse(r#"{"access_token":[]}"#).unwrap();
        assert!(merge_capabilities(Some(&odd), &["cp1".into()]).is_err());
        assert!(merge_capabilities(Some(&odd), &[]).is_ok());
    }

    #[test]
    fn a_challenge_adds_no_capability() {
        for (challenge, kept) in [
            (
                r#"{"access_token":{"xms_cc":{"values":["cp1","protapp"]}}}"#,
                "{}",
            ),
            (
                r#"{"access_token":{"xms_cc":{"essential":true,"values":["protapp"]}}}"#,
                "{}",
            ),
            (
                r#"{"access_token":{"xms_cc":"protapp","nbf":null}}"#,
                r#"{"access_token":{"nbf":null}}"#,
            ),
            (
                r#"{"access_token":{"XMS_CC":{"value":"protapp"},"a":{}}}"#,
                r#"{"access_token":{"a":{}}}"#,
            ),
            (
                r#"{"xms_cc":{"values":["protapp"]},"id_token":{"xms_cc":null,"a":1}}"#,
                r#"{"id_token":{"a":1}}"#,
            ),
            (
                r#"{"userinfo":[{"xms_cc":["protapp"]}],"a":{"b":{"xms_cc":0}}}"#,
                r#"{"userinfo":[{}]}"#,
            ),
        ] {
            let claims = Claims::parse(challenge).unwrap();
            let undeclared = merge_capabilities(Some(&claims), &[]).unwrap();
            let expected = (kept != "{}").then(|| kept.to_owned());
            assert_eq!(undeclared, expected, "{challenge}");
            let declared = merge_capabilities(Some(&claims), &["cp1".into()])
                .unwrap()
                .unwrap();
            let mut expected: Value = serde_json::from_str(kept).unwrap();
            expected["access_token"]["xms_cc"] = json!({"values": ["cp1"]});
            assert_eq!(
                serde_json::from_str::<Value>(&declared).unwrap(),
                expected,
                "{challenge}"
            );
        }
        let nothing = Claims::parse("{}").unwrap();
        assert_eq!(
            merge_capabilities(Some(&nothing), &[]).unwrap().as_deref(),
            Some("{}")
        );
    }

    #[test]
    fn numbers_are_passed_on_as_they_came() {
        let text =
            r#"{"a":[0.1,1.7976931348623157e308,123456789.12345679,-7,18446744073709551615]}"#;
        let claims = Claims::parse(text).unwrap();
        let printed = merge_capabilities(Some(&claims), &[]).unwrap().unwrap();
        assert_eq!(Claims::parse(&printed).unwrap(), claims);
        assert_eq!(printed, text.replace("e308", "e+308"));
    }

    #[test]
    fn bounded_input() {
        let claims = |spaces: usize| format!("{{{}}}", " ".repeat(spaces));
        assert!(Claims::parse(&claims(65_536 - 2)).is_ok());
        assert!(Claims::parse(&claims(65_536 - 1)).is_err());
    }

    #[test]
    fn secrets_stay_secret_in_errors_and_debug() {
        let error = Claims::parse(r#"{"a":swordfish"#).unwrap_err();
        let source = error.source().unwrap();
        assert!(!format!("{error} {error:?} {source} {source:?}").contains("swordfish"));
        let claims = Claims::parse(r#"{"a":"swordfish"}"#).unwrap();
        assert!(!format!("{claims:?}").contains("swordfish"));
    }
}
