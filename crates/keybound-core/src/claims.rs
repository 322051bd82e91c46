use crate::json::JsonProblem;
use crate::json::lenient::{self, Duplicates};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::fmt;

/// A claims request: the JSON object in a claims challenge (OpenID Connect Core section 5.5).
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Parses the JSON text, at most 64 KiB.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if it is longer, is not a JSON object, has a
    /// duplicate name or is nested deeper than 100 levels.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_CLAIMS {
            return Err(Error::invalid_request("claims are longer than 64 KiB"));
        }
        let claims = serde_json::from_str(text).map_err(|error| {
            Error::invalid_request("claims are not a JSON object")
                .with_source(JsonProblem::from(&error))
        })?;
        // Of duplicates serde_json returns the last one; another parser may use the first.
        let without_duplicates = lenient::parse(text, Duplicates::Rejected);
        if without_duplicates.as_ref().and_then(Value::as_object) != Some(&claims) {
            return Err(Error::invalid_request(
                "claims have a duplicate name or are nested too deep",
            ));
        }
        Ok(Self(claims))
    }

    /// The JSON text, on one line.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(…)")
    }
}

/// Returns the `claims` parameter of a token request: the claims of a challenge with the client's capabilities (`cp1`) as
/// `access_token.xms_cc.values`. `None` if there are neither.
///
/// Only the client declares its capabilities: `xms_cc` is removed from the claims at every depth, so that a resource cannot
/// claim capabilities that the client does not have.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if `access_token` of the claims is neither an object nor
/// null.
pub fn merge_capabilities(
    claims: Option<&Claims>,
    capabilities: &[String],
) -> Result<Option<String>> {
    let mut merged = claims.map(|claims| claims.0.clone()).unwrap_or_default();
    let was_empty = merged.is_empty();
    remove_capabilities(&mut merged);
    if !capabilities.is_empty() {
        let access_token = merged.entry("access_token").or_insert(Value::Null);
        if access_token.is_null() {
            *access_token = json!({});
        }
        let access_token = access_token.as_object_mut().ok_or_else(|| {
            Error::invalid_request("the member access_token of the claims is not an object")
        })?;
        access_token.insert(CAPABILITIES.to_owned(), json!({ "values": capabilities }));
    }
    let is_nothing = merged.is_empty() && (claims.is_none() || !was_empty);
    Ok((!is_nothing).then(|| Value::Object(merged).to_string()))
}

/// Removes all members `xms_cc`, and the objects that become empty.
fn remove_capabilities(object: &mut Map<String, Value>) {
    object.retain(|name, value| {
        let was_empty = value.as_object().is_some_and(Map::is_empty);
        remove_capabilities_in(value);
        let is_empty = value.as_object().is_some_and(Map::is_empty);
        !name.eq_ignore_ascii_case(CAPABILITIES) && (was_empty || !is_empty)
    });
}

/// The recursion is bounded by the depth that the parser allows.
fn remove_capabilities_in(value: &mut Value) {
    match value {
        Value::Object(object) => remove_capabilities(object),
        Value::Array(values) => values.iter_mut().for_each(remove_capabilities_in),
        _ => {}
    }
}

const CAPABILITIES: &str = "xms_cc";
const MAX_CLAIMS: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn adds_capabilities_to_claims() {
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
    fn returns_capabilities_without_claims() {
        assert_eq!(merge_capabilities(None, &[]).unwrap(), None);
        assert_eq!(
            merge_capabilities(None, &["cp1".into()]).unwrap().unwrap(),
            r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#
        );
    }

    #[test]
    fn rejects_malformed_claims() {
        let nested =
            |depth: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        for text in [
            "",
            "[]",
            "1",
            "7",
            "{",
            "null",
            "{} {}",
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e400}"#,
            &nested(100),
            &nested(200),
        ] {
            assert!(Claims::parse(text).is_err(), "{text:?}");
        }
        assert!(Claims::parse(&nested(99)).is_ok());
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,"é"],"b":{}}"#;
        assert_eq!(
            Value::Object(Claims::parse(text).unwrap().0).to_string(),
            text
        );
        let odd = Claims::parse(r#"{"access_token":[]}"#).unwrap();
        assert!(merge_capabilities(Some(&odd), &["cp1".into()]).is_err());
        assert!(merge_capabilities(Some(&odd), &[]).is_ok());
    }

    #[test]
    fn ignores_capabilities_of_a_challenge() {
        for (challenge, remaining) in [
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
            let expected = (remaining != "{}").then(|| remaining.to_owned());
            assert_eq!(undeclared, expected, "{challenge}");
            let declared = merge_capabilities(Some(&claims), &["cp1".into()])
                .unwrap()
                .unwrap();
            let mut expected: Value = serde_json::from_str(remaining).unwrap();
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
    fn keeps_numbers_exactly() {
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
