use keybound_resource::Caller;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The headers that name the caller to the API. A proxy replaces those of clients by them.
pub(crate) const IDENTITY_HEADERS: [&str; 6] = [
    "x-keybound-client",
    "x-keybound-tenant",
    "x-keybound-object",
    "x-keybound-roles",
    "x-keybound-identity-type",
    "x-keybound-token-id",
];

/// Their values for a caller, in the same order; empty where the token has no such claim.
pub(crate) fn identity_headers(caller: &Caller) -> [String; 6] {
    let roles: Vec<String> = caller.roles().map(encoded).collect();
    let identity_type = match caller.is_app_only() {
        true => "app",
        false => "user",
    };
    [
        encoded(caller.client()),
        caller.tenant().as_str().to_owned(),
        caller
            .object()
            .map_or(String::new(), |object| object.as_str().to_owned()),
        roles.join(" "),
        identity_type.to_owned(),
        encoded(caller.token_id().unwrap_or_default()),
    ]
}

/// Percent-encodes what would make a header, or a list that is separated by spaces, ambiguous. Entra's own values have no such characters.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, AMBIGUOUS).to_string()
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
