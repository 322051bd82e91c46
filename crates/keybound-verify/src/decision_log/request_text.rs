//! What a client chose, for the log: printable, of limited length, and without what looks like a secret.
use keybound_core::{printable, redact};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// A host without its user information, which may have a password.
pub(super) fn host(text: &str) -> String {
    printable(&without_secret(without_user(text)), MAX_HOST)
}

pub(super) fn method(text: &str) -> String {
    printable(&without_secret(text), MAX_METHOD)
}

/// A path without its query. A segment that looks like a secret, such as a token, is replaced.
pub(super) fn path(text: &str) -> String {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let mut shown = String::new();
    let mut read = 0;
    for (number, segment) in path.split('/').enumerate() {
        if read > MAX_READ {
            shown.push('…');
            break;
        }
        if number > 0 {
            shown.push('/');
        }
        read += match is_too_long(segment) {
            true => 1,
            false => segment.len() + 1,
        };
        shown.push_str(&without_secret(match segment.contains(':') {
            // The authority of a URL in place of a path.
            true => without_user(segment),
            false => segment,
        }));
    }
    printable(&shown, MAX_PATH)
}

fn without_user(text: &str) -> &str {
    let encoded = text.rfind("%40").map(|position| position + 3);
    let plain = text.rfind('@').map(|position| position + 1);
    &text[encoded.max(plain).unwrap_or_default()..]
}

fn without_secret(text: &str) -> Cow<'_, str> {
    match is_too_long(text) || has_secret(text) {
        true => REDACTED.into(),
        false => text.into(),
    }
}

/// Such a text is not looked at: its sender would choose how long that takes.
fn is_too_long(text: &str) -> bool {
    text.len() > MAX_PATH
}

/// Also if it is encoded, several times.
fn has_secret(text: &str) -> bool {
    let mut decoded = text.to_owned();
    for _ in 0..MAX_DECODED {
        if redact(&decoded).contains(REDACTED) {
            return true;
        }
        let next = percent_decode_str(&decoded).decode_utf8_lossy();
        if next == decoded {
            return false;
        }
        decoded = next.into_owned();
    }
    true
}

const REDACTED: &str = "[redacted]";
/// No server decodes more often.
const MAX_DECODED: usize = 4;
const MAX_HOST: usize = 253;
const MAX_METHOD: usize = 32;
const MAX_PATH: usize = 1024;
/// In bytes: of a path, what is looked at. Secrets in it are shown as less.
const MAX_READ: usize = 4 * MAX_PATH;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhcGkifQ.c3dvcmRmaXNo";

    #[test]
    fn paths_have_neither_queries_nor_tokens() {
        let encoded: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let twice = encoded.replace('%', "%25");
        for (text, expected) in [
            ("/orders/7".to_owned(), "/orders/7"),
            ("/orders?access_token=swordfish".to_owned(), "/orders"),
            ("/orders#swordfish".to_owned(), "/orders"),
            (format!("/x/{TOKEN}/y"), "/x/[redacted]/y"),
            (format!("/x/{encoded}/y"), "/x/[redacted]/y"),
            (format!("/x/{twice}/y"), "/x/[redacted]/y"),
            (format!("/x/a%2F{TOKEN}%2fy"), "/x/[redacted]"),
            (TOKEN.replacen('e', "%65", 1), "[redacted]"),
            ("/x;access_token=swordfish/y".to_owned(), "/[redacted]/y"),
            ("/%2525252541/y".to_owned(), "/[redacted]/y"),
            (
                "http://user:swordfish@orders/x".to_owned(),
                "http://orders/x",
            ),
            ("/a@b/c".to_owned(), "/a@b/c"),
            (
                "/72f988bf-86f1-41af-91ab-2d7cd011db47".to_owned(),
                "/72f988bf-86f1-41af-91ab-2d7cd011db47",
            ),
            (
                "/a\r\n\u{1b}[31m\u{202e}".to_owned(),
                "/a  \u{fffd}[31m\u{fffd}",
            ),
            ("/Gr%C3%BC%C3%9Fe".to_owned(), "/Gr%C3%BC%C3%9Fe"),
            ("/%FF%00".to_owned(), "/%FF%00"),
            (String::new(), ""),
        ] {
            assert_eq!(path(&text), expected, "{text}");
        }
    }

    /// Percent-encoded ones are decoded several times.
    #[test]
    fn what_is_too_long_is_cut_before_it_is_decoded() {
        let long = "%2561".repeat(10_000);
        let segments = "/%2561".repeat(10_000);
        assert_eq!(path(&format!("/orders/{long}/x?y")), "/orders/[redacted]/x");
        assert_eq!(host(&long), "[redacted]");
        assert_eq!(method(&long), "[redacted]");
        let cut = path(&segments);
        assert_eq!(cut.strip_suffix('…'), Some(&segments[..MAX_PATH]));
        let tokens = format!("/{TOKEN}").repeat(1000);
        let cut = path(&tokens);
        assert!(
            cut.len() < MAX_PATH && cut.ends_with("/[redacted]…"),
            "{cut}"
        );
    }

    #[test]
    fn hosts_have_no_user_information() {
        for (text, expected) in [
            ("orders.contoso.com:443", "orders.contoso.com:443"),
            ("user:swordfish@orders", "orders"),
            ("a@b:swordfish@orders", "orders"),
            ("user:swordfish%40orders", "orders"),
            ("user:swordfish@", ""),
            (TOKEN, "[redacted]"),
            ("a\nb", "a b"),
        ] {
            assert_eq!(host(text), expected, "{text}");
        }
        assert_eq!(method(TOKEN), "[redacted]");
        assert_eq!(method("GET"), "GET");
        assert!(host(&"a ".repeat(10_000)).chars().count() <= MAX_HOST + 1);
    }
}
