//! Texts that no token can have: a rule with one of them is a mistake that would refuse every request.
use keybound_core::Guid;

/// Why no token has this audience. They are compared exactly.
pub(super) fn audience(text: &str) -> Option<String> {
    match text.contains('*') {
        true => Some(format!(
            "{text:?} has a wildcard, and audiences are compared exactly: list each"
        )),
        false => word(text),
    }
}

/// Why no token has this client id.
pub(super) fn client(text: &str) -> Option<String> {
    let is_id = text.trim().is_empty() || Guid::parse(text).is_some();
    (!is_id).then(|| not_a_guid(text, "the client id of an application"))
}

/// Why no token has this role.
pub(super) fn word(text: &str) -> Option<String> {
    // Empty ones are found elsewhere.
    let is_separator = |letter: char| letter.is_whitespace() || letter.is_control();
    let has_separator = !text.trim().is_empty() && text.contains(is_separator);
    has_separator.then(|| {
        format!("{text:?} has a space or a control character, which no token has there: list each value by itself")
    })
}

/// Why no token has this scope. Spaces in it are those of a list, which is compared as one scope.
pub(super) fn scope(text: &str) -> Option<String> {
    match text.trim() == text && !text.contains(char::is_control) {
        true => None,
        false => word(text),
    }
}

/// Why a text is not the URL of a server.
pub(super) fn url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://");
    let is_url = text.trim().is_empty()
        || rest.is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty());
    (!is_url).then(|| match has_user_information(text) {
        true => "it is not an https URL".to_owned(),
        false => format!("{text:?} is not an https URL"),
    })
}

/// Whether a URL has user information, such as a password, which must not be in messages.
pub(super) fn has_user_information(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    authority[..end].contains('@')
}

/// A text that is not an id of Entra.
pub(super) fn not_a_guid(text: &str, what: &str) -> String {
    format!("{text:?} is not a GUID: write {what}, such as 72f988bf-86f1-41af-91ab-2d7cd011db47")
}

/// Why a text is not the name of a host.
pub(super) fn host(text: &str, normalized: Option<&str>) -> String {
    let next = match normalized {
        Some(name) => format!("write {name:?}"),
        None if text.contains('*') => "there are no wildcards: list each host".to_owned(),
        None if !text.is_ascii() => {
            "write an internationalized name in its ASCII form, which begins with xn--".to_owned()
        }
        None => {
            "write a name such as \"orders.contoso.com\", or an IPv6 address in brackets".to_owned()
        }
    };
    format!("{text:?} is not the name of a host in lower case without a port: {next}")
}
