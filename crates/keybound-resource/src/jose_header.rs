use crate::Reason;
use crate::members::{MemberNames, Text, parse_json, skip};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// What a verifier reads of a JOSE header (RFC 7515 section 4).
///
/// The algorithm is RS256, whatever the header names (RFC 8725 section 3.1). `jku`, `jwk`, `x5u` and `x5c` are ignored: keys come
/// from the issuer only.
#[derive(Default)]
pub(crate) struct JoseHeader<'a> {
    algorithm: Option<Cow<'a, str>>,
    key_id: Option<Cow<'a, str>>,
    token_type: Option<Cow<'a, str>>,
    /// `crit`, or a member that changes how the parts are encoded.
    has_extension: bool,
}

impl<'a> JoseHeader<'a> {
    /// Parses the decoded header.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, Reason> {
        let header: Self = parse_json(json)?;
        if header.algorithm.as_deref() != Some("RS256") {
            return Err(Reason::AlgorithmUnsupported);
        }
        if header.has_extension || !header.token_type.as_deref().is_none_or(is_access_token) {
            return Err(Reason::HeaderUnsupported);
        }
        Ok(header)
    }

    /// The key id: 1 to 128 characters of base64url.
    pub(crate) fn key_id(&self) -> Result<&str, Reason> {
        let key_id = self.key_id.as_deref().filter(|key_id| is_key_id(key_id));
        key_id.ok_or(Reason::KeyUnknown)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JoseHeader<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = JoseHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut names = MemberNames::at_most(MAX_MEMBERS);
        let mut header = JoseHeader::default();
        while let Some(name) = names.next(&mut object)? {
            let member = match name {
                "alg" => &mut header.algorithm,
                "kid" => &mut header.key_id,
                "typ" => &mut header.token_type,
                other => {
                    header.has_extension |= ["crit", "b64", "enc", "zip"].contains(&other);
                    skip(&mut object)?;
                    continue;
                }
            };
            let Text(value) = object.next_value()?;
            *member = Some(value);
        }
        Ok(header)
    }
}

/// Entra's access tokens have the type `JWT`; those of RFC 9068 have their own. Any other type is another kind of token.
fn is_access_token(token_type: &str) -> bool {
    ["JWT", "at+jwt", "application/at+jwt"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(token_type))
}

fn is_key_id(id: &str) -> bool {
    (1..=MAX_KEY_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

const MAX_KEY_ID: usize = 128;

/// RFC 7515 registers eleven.
const MAX_MEMBERS: usize = 16;
