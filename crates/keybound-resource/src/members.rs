//! Members of JSON objects that a peer sent.
use crate::Reason;
use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess};
use std::borrow::Cow;
use std::collections::HashSet;

/// Parses JSON that is UTF-8 throughout (RFC 8259 section 8.1), also where a value is skipped.
pub(crate) fn parse_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Reason> {
    let text = std::str::from_utf8(json).map_err(|_| Reason::TokenMalformed)?;
    serde_json::from_str(text).map_err(|_| Reason::TokenMalformed)
}

/// The names of an object's members, none of which may occur twice: parsers differ in which of two values counts.
pub(crate) struct MemberNames<'a> {
    names: Vec<Cow<'a, str>>,
    /// The bits of the names: one whose bit is not set is new.
    bits: u128,
    /// All of them, if they are more than usual: comparing each with all others would cost more than a signature.
    set: HashSet<Cow<'a, str>>,
    max: usize,
}

impl<'a> MemberNames<'a> {
    /// For an object of at most this number of members.
    pub(crate) fn at_most(max: usize) -> Self {
        Self {
            names: Vec::with_capacity(USUAL_MEMBERS.min(max)),
            bits: 0,
            set: HashSet::new(),
            max,
        }
    }

    /// The name of the next member.
    pub(crate) fn next<A: MapAccess<'a>>(
        &mut self,
        object: &mut A,
    ) -> Result<Option<&str>, A::Error> {
        let Some(Text(name)) = object.next_key()? else {
            return Ok(None);
        };
        if self.names.len() >= self.max {
            return Err(A::Error::custom("too many members"));
        }
        if self.names.len() < USUAL_MEMBERS {
            let bit = bit(&name);
            if self.bits & bit != 0 && self.names.contains(&name) {
                return Err(A::Error::custom("duplicate member"));
            }
            self.bits |= bit;
        } else if !self.insert(name.clone()) {
            return Err(A::Error::custom("duplicate member"));
        }
        self.names.push(name);
        Ok(self.names.last().map(|name| &**name))
    }

    /// Whether the name is new.
    fn insert(&mut self, name: Cow<'a, str>) -> bool {
        if self.set.is_empty() {
            self.set.reserve(self.max);
            self.set.extend(self.names.iter().cloned());
        }
        self.set.insert(name)
    }
}

/// One of 128 bits, which is the same for equal names. It differs for most names of Entra's tokens.
fn bit(name: &str) -> u128 {
    let byte = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte));
    let bytes = name.as_bytes();
    let number = 3 * byte(bytes.first()) + byte(bytes.last()) + bytes.len();
    1 << (number % 128)
}

/// Skips a value of any type.
pub(crate) fn skip<'a, A: MapAccess<'a>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(|_| ())
}

/// A string, borrowed unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Of Entra's tokens.
const USUAL_MEMBERS: usize = 32;
