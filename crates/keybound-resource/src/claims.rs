use crate::Reason;
use crate::members::{MemberNames, Text, parse_json, skip};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The claims that a verifier reads. A claim of another type than specified makes the token malformed.
#[derive(Default)]
pub(crate) struct TokenClaims<'a> {
    pub(crate) audiences: Vec<Cow<'a, str>>,
    pub(crate) issuer: Option<Cow<'a, str>>,
    pub(crate) tenant: Option<Cow<'a, str>>,
    pub(crate) version: Option<Cow<'a, str>>,
    /// `appid`, the client in tokens of version 1.
    pub(crate) app_id: Option<Cow<'a, str>>,
    /// `azp`, the client in tokens of version 2.
    pub(crate) authorized_party: Option<Cow<'a, str>>,
    pub(crate) object: Option<Cow<'a, str>>,
    pub(crate) token_id: Option<Cow<'a, str>>,
    pub(crate) identity_type: Option<Cow<'a, str>>,
    pub(crate) scopes: Option<Cow<'a, str>>,
    pub(crate) resource_id: Option<Cow<'a, str>>,
    pub(crate) roles: Vec<Cow<'a, str>>,
    pub(crate) capabilities: Vec<Cow<'a, str>>,
    pub(crate) expires: Option<i64>,
    pub(crate) not_before: Option<i64>,
    pub(crate) issued_at: Option<i64>,
    /// `cnf.x5t#S256`.
    pub(crate) confirmation: Option<Cow<'a, str>>,
}

impl<'a> TokenClaims<'a> {
    /// Parses decoded claims.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, Reason> {
        parse_json(json)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TokenClaims<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = TokenClaims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of a token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut names = MemberNames::at_most(MAX_CLAIMS);
        let mut claims = TokenClaims::default();
        while let Some(name) = names.next(&mut object)? {
            let text = match name {
                "iss" => &mut claims.issuer,
                "tid" => &mut claims.tenant,
                "ver" => &mut claims.version,
                "appid" => &mut claims.app_id,
                "azp" => &mut claims.authorized_party,
                "oid" => &mut claims.object,
                "uti" => &mut claims.token_id,
                "idtyp" => &mut claims.identity_type,
                "scp" => &mut claims.scopes,
                "xms_mirid" => &mut claims.resource_id,
                "aud" => {
                    claims.audiences = object.next_value::<OneOrMore<'de>>()?.0;
                    continue;
                }
                "roles" => {
                    claims.roles = object.next_value::<OneOrMore<'de>>()?.0;
                    continue;
                }
                "xms_cc" => {
                    claims.capabilities = object.next_value::<OneOrMore<'de>>()?.0;
                    continue;
                }
                "exp" => {
                    claims.expires = Some(object.next_value::<NumericDate>()?.0);
                    continue;
                }
                "nbf" => {
                    claims.not_before = Some(object.next_value::<NumericDate>()?.0);
                    continue;
                }
                "iat" => {
                    claims.issued_at = Some(object.next_value::<NumericDate>()?.0);
                    continue;
                }
                "cnf" => {
                    claims.confirmation = object.next_value::<Confirmation<'de>>()?.0;
                    continue;
                }
                _ => {
                    skip(&mut object)?;
                    continue;
                }
            };
            let Text(value) = object.next_value()?;
            *text = Some(value);
        }
        Ok(claims)
    }
}

/// A string, or an array of strings (RFC 7519 section 4.1.3).
struct OneOrMore<'a>(Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for OneOrMore<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor).map(Self)
    }
}

struct OneOrMoreVisitor;

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = Vec<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(vec![Cow::Borrowed(value)])
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(vec![Cow::Owned(value.to_owned())])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Text(value)) = array.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}

/// A JSON number of seconds since the Unix epoch (RFC 7519 section 2), without its fraction.
struct NumericDate(i64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if !(0.0..=MAX_DATE).contains(&seconds) {
            return Err(D::Error::custom("not a date"));
        }
        // Exact: the number is in range.
        Ok(Self(seconds as i64))
    }
}

/// The claim `cnf` (RFC 7800 section 3.1), of which `x5t#S256` is read (RFC 8705 section 3.1).
struct Confirmation<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Confirmation<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConfirmationVisitor)
    }
}

struct ConfirmationVisitor;

impl<'de> Visitor<'de> for ConfirmationVisitor {
    type Value = Confirmation<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the members of cnf")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut names = MemberNames::at_most(MAX_CONFIRMATION);
        let mut thumbprint = None;
        while let Some(name) = names.next(&mut object)? {
            if name == "x5t#S256" {
                let Text(value) = object.next_value()?;
                thumbprint = Some(value);
            } else {
                skip(&mut object)?;
            }
        }
        Ok(Confirmation(thumbprint))
    }
}

/// Entra's tokens have about 30.
const MAX_CLAIMS: usize = 128;
const MAX_CONFIRMATION: usize = 16;
/// 2^53: larger numbers are not exact.
const MAX_DATE: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_utf_8_also_where_they_are_skipped() {
        assert!(TokenClaims::parse("{\"rh\":\"ÿ\"}".as_bytes()).is_ok());
        let parsed = TokenClaims::parse(b"{\"rh\":\"\xff\"}");
        assert_eq!(parsed.err(), Some(Reason::TokenMalformed));
    }

    /// With the same length, first and last character.
    #[test]
    fn claims_with_similar_names_are_not_duplicates() {
        assert!(TokenClaims::parse(br#"{"a1d":1,"a2d":1,"aud":"x"}"#).is_ok());
        let parsed = TokenClaims::parse(br#"{"a1d":1,"a2d":1,"a1d":1}"#);
        assert_eq!(parsed.err(), Some(Reason::TokenMalformed));
    }
}
