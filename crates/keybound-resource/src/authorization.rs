use crate::Reason;
use std::fmt;
use std::ops::BitOr;

/// The `Authorization` headers of a request. `Debug` shows no token.
#[derive(Clone, Copy)]
pub struct Authorization<'a>(Values<'a>);

#[derive(Clone, Copy)]
enum Values<'a> {
    None,
    One(&'a [u8]),
    Several,
}

impl<'a> Authorization<'a> {
    /// There is no such header.
    pub const NONE: Authorization<'static> = Authorization(Values::None);

    /// The values of all headers of that name. More than one is [refused](Reason::AuthorizationRepeated).
    pub fn from_values<V: AsRef<[u8]> + ?Sized + 'a>(
        values: impl IntoIterator<Item = &'a V>,
    ) -> Self {
        let mut values = values.into_iter();
        Self(match (values.next(), values.next()) {
            (None, _) => Values::None,
            (Some(value), None) => Values::One(value.as_ref()),
            (Some(_), Some(_)) => Values::Several,
        })
    }

    /// The token, if the header has the form `scheme SP token` and the scheme is accepted. Schemes are compared without case
    /// (RFC 9110 section 11.1). What follows the space is not parsed here: for a cached token, equality
    /// replaces it.
    pub(crate) fn token(self, accepted: Schemes) -> Result<&'a [u8], Reason> {
        let value = match self.0 {
            Values::None => return Err(Reason::TokenMissing),
            Values::Several => return Err(Reason::AuthorizationRepeated),
            Values::One(value) => value,
        };
        // The longest accepted scheme has eight characters.
        let space = value.iter().take(MAX_SCHEME).position(|&byte| byte == b' ');
        let (scheme, token) = match space {
            Some(space) => (&value[..space], &value[space + 1..]),
            None => (value, &[][..]),
        };
        if scheme.is_empty() || !scheme.iter().all(|&byte| is_token_byte(byte)) {
            return Err(Reason::AuthorizationMalformed);
        }
        if !accepted.contain(scheme) {
            return Err(Reason::SchemeUnsupported);
        }
        if token.is_empty() {
            return Err(Reason::AuthorizationMalformed);
        }
        Ok(token)
    }
}

impl<'a> From<&'a str> for Authorization<'a> {
    fn from(value: &'a str) -> Self {
        Self(Values::One(value.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Authorization<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self(Values::One(value))
    }
}

impl<'a> From<Option<&'a str>> for Authorization<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self(value.map_or(Values::None, |value| Values::One(value.as_bytes())))
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Values::None => "Authorization(none)",
            Values::One(_) => "Authorization(one)",
            Values::Several => "Authorization(several)",
        })
    }
}

/// The authentication schemes that a verifier accepts. Whatever the scheme, the token must be bound to the certificate of the
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schemes(u8);

impl Schemes {
    /// `mtls_pop`, which MSAL and Keybound send. The default.
    pub const MTLS_POP: Self = Self(1);
    /// `Bearer`, for clients that send bound tokens as RFC 8705 section 3 describes.
    pub const BOUND_BEARER: Self = Self(2);

    /// The names of the schemes, as in a challenge.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        KNOWN
            .into_iter()
            .filter(move |(scheme, _)| self.0 & scheme.0 != 0)
            .map(|(_, name)| name)
    }

    fn contain(self, scheme: &[u8]) -> bool {
        self.names()
            .any(|name| name.as_bytes().eq_ignore_ascii_case(scheme))
    }
}

impl BitOr for Schemes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const KNOWN: [(Schemes, &str); 2] = [
    (Schemes::MTLS_POP, "mtls_pop"),
    (Schemes::BOUND_BEARER, "Bearer"),
];
const MAX_SCHEME: usize = 64;
