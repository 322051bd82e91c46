//! JSON output without control characters, and formatting of JSON from outside without changing its values.
use serde::Serialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::io;

/// A value as indented JSON without control characters.
///
/// # Errors
/// If the value cannot be JSON: a map whose keys are not strings.
pub(crate) fn document(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string_pretty(value)?;
    Ok(escaped(&json))
}

/// The text without a byte order mark at its start, which is not part of it (RFC 8259 section 8.1).
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// JSON text from outside without whitespace, otherwise unchanged; `None` if it is not JSON.
pub(crate) fn compacted(bytes: &[u8]) -> Option<String> {
    let text = without_mark(std::str::from_utf8(bytes).ok()?);
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut compact = String::with_capacity(text.len());
    each_token(text, |token| compact.push_str(token));
    Some(compact)
}

/// Valid JSON text, indented by two spaces; the order of members and the form of numbers do not change.
pub(crate) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut opened = false;
    each_token(json, |token| {
        let closes = matches!(token, "}" | "]");
        if closes {
            depth = depth.saturating_sub(1);
        }
        if opened != closes {
            new_line(&mut out, depth);
        }
        opened = matches!(token, "{" | "[");
        depth += usize::from(opened);
        out.push_str(token);
        match token {
            "," => new_line(&mut out, depth),
            ":" => out.push(' '),
            _ => {}
        }
    });
    out
}

/// Escapes characters that a terminal would interpret or hide. In JSON they occur in strings only, so the value does not change.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    out
}

fn is_unsafe(character: char) -> bool {
    let replaced = || keybound_core::printable(character.encode_utf8(&mut [0; 4]), 1) == "\u{fffd}";
    character == '\u{7f}' || (!character.is_ascii() && character != '\u{fffd}' && replaced())
}

/// Calls `visit` with each token of valid JSON: punctuation, strings with their quotes, and literals.
fn each_token<'a>(json: &'a str, mut visit: impl FnMut(&'a str)) {
    let mut rest = json.trim_start_matches(WHITESPACE);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest
                .find(END_OF_LITERAL)
                .unwrap_or(rest.len())
                .max(first.len_utf8()),
        };
        let (token, after) = rest.split_at(length);
        visit(token);
        rest = after.trim_start_matches(WHITESPACE);
    }
}

fn string_length(text: &str) -> usize {
    let mut backslash = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if backslash => backslash = false,
            b'\\' => backslash = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
}

/// A text or binary body for a JSON document.
pub(crate) fn text_or_base64(bytes: &[u8]) -> (Cow<'_, str>, &'static str) {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(text) => (without_mark(text).into(), "text"),
        Err(_) => (
            base64::engine::general_purpose::STANDARD
                .encode(bytes)
                .into(),
            "base64",
        ),
    }
}

const WHITESPACE: [char; 4] = [' ', '\t', '\r', '\n'];
const END_OF_LITERAL: [char; 11] = ['{', '}', '[', ']', ',', ':', '"', ' ', '\t', '\r', '\n'];
/// Deeper nesting is not indented further: otherwise a small body could expand to a large text.
const MAX_INDENT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_document_holds_nothing_that_a_terminal_obeys_and_stays_the_same_value() {
        let value = json!({"a": "\u{1b}[2J\u{9b}31m\u{202e}\u{7f}\u{e0041}\u{fffd}ü🙂"});
        let document = document(&value).unwrap();
        let unsafe_characters = ['\u{1b}', '\u{9b}', '\u{202e}', '\u{7f}', '\u{e0041}'];
        assert!(!document.contains(unsafe_characters), "{document:?}");
        assert!(document.contains("ü🙂"));
        assert_eq!(serde_json::from_str::<Value>(&document).unwrap(), value);
    }

    #[test]
    fn foreign_json_keeps_its_order_and_its_numbers() {
        let text = "{ \"z\" : [ 1.50 , 123456789012345678901234567890 ],\r\n\"a\":{}, \"s\": \"x \\\" {,\" }";
        let compact = compacted(text.as_bytes()).unwrap();
        assert_eq!(
            compact,
            r#"{"z":[1.50,123456789012345678901234567890],"a":{},"s":"x \" {,"}"#
        );
        let expected = "{\n  \"z\": [\n    1.50,\n    123456789012345678901234567890\n  ],\n  \"a\": {},\n  \"s\": \"x \\\" {,\"\n}";
        assert_eq!(indented(&compact), expected);
        assert_eq!(compacted(indented(&compact).as_bytes()).unwrap(), compact);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        for (bytes, json) in [
            ("\u{feff}{\"a\": 1}", Some("{\"a\":1}")),
            ("\u{feff} [1]", Some("[1]")),
            // Only one, only at the begin; inside of a text it is a character.
            ("\u{feff}\u{feff}[1]", None),
            (" \u{feff}[1]", None),
            ("[1]\u{feff}", None),
            ("\u{feff}", None),
            ("[\"\u{feff}\"]", Some("[\"\u{feff}\"]")),
        ] {
            assert_eq!(compacted(bytes.as_bytes()).as_deref(), json, "{bytes:?}");
        }
        let text = text_or_base64("\u{feff}one \u{feff}two".as_bytes());
        assert_eq!(text, ("one \u{feff}two".into(), "text"));
    }

    #[test]
    fn what_is_not_json_is_rejected() {
        for bytes in [
            &b""[..],
            b"<html>",
            b"{",
            b"{}x",
            b"\"\xff\"",
            b"{'a':1}",
            b"\"\x01\"",
        ] {
            assert_eq!(compacted(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_grows_without_bound() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let compact = compacted(deep.as_bytes()).unwrap();
        assert!(indented(&compact).len() < 200 * deep.len());
    }
}
