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
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) where it is not a JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > LONGEST {
            return Err(Error::invalid_request("claims are longer than 64 KiB"));
        }
        serde_json::from_str(text).map(Self).map_err(|error| {
            Error::invalid_request("claims are not a JSON object").with_source(error)
        })
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(…)")
    }
}

/// The `claims` parameter of a token request: the challenge's claims with the client's capabilities (`cp1`) merged in
/// as `access_token.xms_cc.values`. `None` where there is nothing to say.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) where the claims have an `access_token` or `xms_cc`
/// member that is neither an object nor null.
pub fn merge_capabilities(
    claims: Option<&Claims>,
    capabilities: &[String],
) -> Result<Option<String>> {
    if capabilities.is_empty() {
        return Ok(claims.map(|claims| Value::Object(claims.0.clone()).to_string()));
    }
    let mut merged = claims.map(|claims| claims.0.clone()).unwrap_or_default();
    let access_token = member(&mut merged, "access_token")?;
    member(access_token, "xms_cc")?.insert("values".into(), json!(capabilities));
    Ok(Some(Value::Object(merged).to_string()))
}

fn member<'a>(
    object: &'a mut Map<String, Value>,
    name: &str,
) -> Result<&'a mut Map<String, Value>> {
    let value = object.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().ok_or_else(|| {
        Error::invalid_request("claims have a member of another shape than the capabilities need")
    })
}

const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in ["", "[]", "1", "{", "null"] {
            assert!(Claims::parse(text).is_err(), "{text:?}");
        }
        let odd = Claims::parse(r#"{"access_token":[]}"#).unwrap();
        assert!(merge_capabilities(Some(&odd), &["cp1".into()]).is_err());
    }
}
