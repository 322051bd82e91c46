use crate::json::read_unique_object;
use crate::{Error, Result};
use serde_json::{Map, Value};
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

/// The `claims` parameter of a token request: the challenge's claims with the client's capabilities (`cp1`) merged in
/// as `access_token.xms_cc.values`, after the values that the claims have there. `None` where there is nothing to say.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) where the claims have a member `access_token`,
/// `xms_cc` or `values` of another shape (null counts as absent).
pub fn merge_capabilities(
    claims: Option<&Claims>,
    capabilities: &[String],
) -> Result<Option<String>> {
    if capabilities.is_empty() {
        return Ok(claims.map(|claims| Value::Object(claims.0.clone()).to_string()));
    }
    let mut merged = claims.map(|claims| claims.0.clone()).unwrap_or_default();
    let access_token = object_in(&mut merged, "access_token")?;
    let values = values_in(object_in(access_token, "xms_cc")?)?;
    for capability in capabilities {
        if !values.iter().any(|value| value == capability) {
            values.push(capability.as_str().into());
        }
    }
    Ok(Some(Value::Object(merged).to_string()))
}

fn object_in<'a>(
    object: &'a mut Map<String, Value>,
    name: &str,
) -> Result<&'a mut Map<String, Value>> {
    let object = present(object, name, || Value::Object(Map::new())).as_object_mut();
    object.ok_or_else(another_shape)
}

fn values_in(object: &mut Map<String, Value>) -> Result<&mut Vec<Value>> {
    let values = present(object, "values", || Value::Array(Vec::new())).as_array_mut();
    values.ok_or_else(another_shape)
}

fn present<'a>(
    object: &'a mut Map<String, Value>,
    name: &str,
    default: fn() -> Value,
) -> &'a mut Value {
    let value = object.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = default();
    }
    value
}

fn another_shape() -> Error {
    Error::invalid_request("claims have a member of another shape than the capabilities need")
}

const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
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
        for text in [
            r#"{"access_token":[]}"#,
            r#"{"access_token":{"xms_cc":"cp1"}}"#,
            r#"{"access_token":{"xms_cc":{"values":"cp1"}}}"#,
        ] {
            let odd = Claims::parse(text).unwrap();
            assert!(merge_capabilities(Some(&odd), &["cp1".into()]).is_err());
            assert!(merge_capabilities(Some(&odd), &[]).is_ok());
        }
    }

    #[test]
    fn capabilities_that_are_asked_for_already_stay_once() {
        let claims = Claims::parse(
            r#"{"access_token":{"xms_cc":{"essential":true,"values":["other","cp1"]}}}"#,
        )
        .unwrap();
        assert_eq!(
            merge_capabilities(Some(&claims), &["cp1".into(), "cp2".into()])
                .unwrap()
                .unwrap(),
            r#"{"access_token":{"xms_cc":{"essential":true,"values":["other","cp1","cp2"]}}}"#
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
