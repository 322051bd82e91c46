use keybound_resource::Caller;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::borrow::Cow;

/// The headers that name the caller to the API. A proxy replaces those of clients by them.
pub const IDENTITY_HEADERS: &[&str] = &[
    "x-keybound-client",
    "x-keybound-tenant",
    "x-keybound-object",
    "x-keybound-roles",
    "x-keybound-scopes",
    "x-keybound-identity-type",
    "x-keybound-token-id",
];

/// The values of these headers for a caller, in the same order; empty where the token has no such claim.
pub(crate) type IdentityValues<'a> = [Cow<'a, str>; IDENTITY_HEADERS.len()];

pub(crate) fn identity_headers(caller: &Caller) -> IdentityValues<'_> {
    let identity_type = match (caller.is_app_only(), caller.is_user()) {
        (true, _) => "app",
        (false, true) => "user",
        (false, false) => "",
    };
    let object = caller.object().map(|object| object.as_str());
    [
        encoded(caller.client()),
        caller.tenant().as_str().into(),
        object.unwrap_or_default().into(),
        list(caller.roles()),
        list(caller.scopes()),
        identity_type.into(),
        encoded(caller.token_id().unwrap_or_default()),
    ]
}

/// Separated by spaces.
fn list<'a>(values: impl Iterator<Item = &'a str>) -> Cow<'a, str> {
    let mut values = values.map(encoded);
    let first = values.next().unwrap_or_default();
    values.fold(first, |mut list, value| {
        let text = list.to_mut();
        text.push(' ');
        text.push_str(&value);
        list
    })
}

/// Percent-encodes what would make a header, or a list that is separated by spaces, ambiguous. Entra's own values have no such characters.
fn encoded(text: &str) -> Cow<'_, str> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'%')
    {
        return text.into();
    }
    utf8_percent_encode(text, AMBIGUOUS).into()
}

/// All that is not visible ASCII is encoded anyway.
const AMBIGUOUS: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_be_split() {
        for (text, expected) in [
            ("Orders.Read.All", "Orders.Read.All"),
            ("a b", "a%20b"),
            ("a%20b", "a%2520b"),
            ("a\r\nx: y", "a%0D%0Ax:%20y"),
            ("ä", "%C3%A4"),
            ("a,b", "a,b"),
        ] {
            assert_eq!(encoded(text), expected);
        }
    }
}
