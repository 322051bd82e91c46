//! Members of JSON objects that a peer sent.
use serde::de::{Error as _, IgnoredAny, MapAccess};
use std::borrow::Cow;

/// The names of an object's members, none of which may occur twice: parsers differ in which of two values counts.
pub(crate) struct MemberNames<'a>(Vec<Cow<'a, str>>);

impl Default for MemberNames<'_> {
    fn default() -> Self {
        Self(Vec::with_capacity(USUAL_MEMBERS))
    }
}

impl<'a> MemberNames<'a> {
    /// The name of the next member.
    pub(crate) fn next<A: MapAccess<'a>>(
        &mut self,
        object: &mut A,
    ) -> Result<Option<&str>, A::Error> {
        let Some(Text(name)) = object.next_key()? else {
            return Ok(None);
        };
        if self.0.len() >= MAX_MEMBERS {
            return Err(A::Error::custom("too many members"));
        }
        if self.0.contains(&name) {
            return Err(A::Error::custom("duplicate member"));
        }
        self.0.push(name);
        Ok(self.0.last().map(|name| &**name))
    }
}

/// Skips a value of any type.
pub(crate) fn skip<'a, A: MapAccess<'a>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(|_| ())
}

/// A string, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Of Entra's tokens.
const USUAL_MEMBERS: usize = 32;
const MAX_MEMBERS: usize = 256;
