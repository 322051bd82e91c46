use crate::SecretString;
use serde_json::Value;
use std::collections::HashSet;
use std::ops::Range;

/// The secret of a request, which the service may repeat in its response: whole or a part of it, in any case of its letters, broken
/// by other characters, or percent-encoded once or several times.
pub(super) enum RepeatedSecret {
    None,
    /// Too short for comparisons of parts.
    Short(String),
    /// Each sequence of [`PART`] letters and digits of it, as a number.
    Parts(HashSet<u64>),
}

impl RepeatedSecret {
    pub(super) fn new(secret: Option<&SecretString>) -> Self {
        let Some(secret) = secret.map(SecretString::expose) else {
            return Self::None;
        };
        let parts: HashSet<_> = parts(&letters(secret, literal)).collect();
        match (secret.is_empty(), parts.is_empty()) {
            (true, _) => Self::None,
            (false, true) => Self::Short(secret.to_ascii_lowercase()),
            (false, false) => Self::Parts(parts),
        }
    }

    /// The text with `[redacted]` in place of the secret and its parts. Fewer than [`PART`] letters and digits of it may remain.
    pub(super) fn remove_from(&self, text: &str) -> String {
        match self {
            Self::None => text.to_owned(),
            Self::Short(secret) => {
                let lower = text.to_ascii_lowercase();
                let found = lower.match_indices(secret);
                replace(text, found.map(|(start, found)| start..start + found.len()))
            }
            Self::Parts(known) => {
                // A percent sign before a part is not an encoding.
                let found = [literal, decoded].map(|first| ranges(&letters(text, first), known));
                replace(text, merged(found.concat()).into_iter())
            }
        }
    }

    /// The value without the secret in its texts, names and numbers.
    pub(super) fn remove_from_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.remove_from(&text)),
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.remove_from_value(item))
                .collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, value)| (self.remove_from(&name), self.remove_from_value(value)))
                .collect(),
            Value::Number(number) => {
                let text = number.to_string();
                match self.remove_from(&text) == text {
                    true => Value::Number(number),
                    false => Value::String(REDACTED.to_owned()),
                }
            }
            other => other,
        }
    }
}

/// A letter or digit of a text.
struct Letter {
    /// In lower case.
    byte: u8,
    /// Its bytes in the text: several if it is encoded.
    range: Range<usize>,
}

/// The letters and digits of a text, by how its first byte is read.
fn letters(text: &str, first: fn(&[u8]) -> (u8, usize)) -> Vec<Letter> {
    let bytes = text.as_bytes();
    let mut letters = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let (byte, length) = first(&bytes[start..]);
        if byte.is_ascii_alphanumeric() {
            let range = start..start + length;
            let byte = byte.to_ascii_lowercase();
            letters.push(Letter { byte, range });
        }
        start += length;
    }
    letters
}

/// The first byte of a text that is not empty, with its length.
fn literal(bytes: &[u8]) -> (u8, usize) {
    (bytes[0], 1)
}

/// The same without percent-encoding: of `%41`, `%2541` and so on, the encoded one.
fn decoded(bytes: &[u8]) -> (u8, usize) {
    if bytes[0] == b'%' {
        let mut digits = 1;
        while bytes[digits..].starts_with(b"25") && hexadecimal(&bytes[digits + 2..]).is_some() {
            digits += 2;
        }
        if let Some(byte) = hexadecimal(&bytes[digits..]) {
            return (byte, digits + 2);
        }
    }
    literal(bytes)
}

fn hexadecimal(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low, ..] = bytes else {
        return None;
    };
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

/// Each sequence of [`PART`] letters.
fn parts(letters: &[Letter]) -> impl Iterator<Item = u64> {
    let number = |part: &[Letter]| {
        let bytes = part.iter().map(|letter| u64::from(letter.byte));
        bytes.fold(0, |number, byte| number << 8 | byte)
    };
    letters.windows(PART).map(number)
}

/// The bytes of the letters that belong to known parts.
fn ranges(letters: &[Letter], known: &HashSet<u64>) -> Vec<Range<usize>> {
    let parts = parts(letters).enumerate();
    let found = parts.filter(|(_, part)| known.contains(part));
    let found = found.map(|(first, _)| {
        let last = first + PART - 1;
        letters[first].range.start..letters[last].range.end
    });
    found.collect()
}

/// The ranges in order, with one in place of several that overlap.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end > range.start => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The text with [`REDACTED`] in place of the ranges, which are in order.
fn replace(text: &str, ranges: impl Iterator<Item = Range<usize>>) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut end = 0;
    for range in ranges {
        clean.push_str(&text[end..range.start]);
        clean.push_str(REDACTED);
        end = range.end;
    }
    clean.push_str(&text[end..]);
    clean
}

/// The letters and digits that a text and a secret have in common at most. They fit into a number.
const PART: usize = 8;
const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests {
    use super::*;

    const ASSERTION: &str =
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzd29yZGZpc2gifQ.c3dvcmRmaXNoLXN3b3JkZmlzaA";

    fn removed(text: &str) -> String {
        let secret = SecretString::new(ASSERTION.to_owned());
        RepeatedSecret::new(Some(&secret)).remove_from(text)
    }

    #[test]
    fn removes_the_secret_and_its_parts() {
        let encoded: String = ASSERTION.bytes().map(|b| format!("%{b:02X}")).collect();
        let twice = encoded.replace('%', "%25");
        let spaced: Vec<_> = ASSERTION.split_inclusive('J').collect();
        let lines: Vec<_> = ASSERTION
            .as_bytes()
            .chunks(5)
            .map(String::from_utf8_lossy)
            .collect();
        for repeated in [
            ASSERTION,
            &ASSERTION.to_uppercase(),
            &ASSERTION[..40],
            &ASSERTION[30..],
            &ASSERTION[30..38],
            &encoded,
            &encoded.to_lowercase(),
            &twice,
            &twice.replace('%', "%25"),
            &ASSERTION.replace('.', "%2E"),
            &spaced.join(" "),
            &lines.join("\r\n\" "),
            &lines.join(" é… "),
        ] {
            assert_eq!(
                removed(&format!("<{repeated}>")),
                "<[redacted]>",
                "{repeated}"
            );
        }
        let cut = format!("{}...{}", &ASSERTION[..10], &ASSERTION[60..]);
        assert_eq!(removed(&cut), "[redacted]...[redacted]");
        assert_eq!(removed("%b3JkZmlz"), "%[redacted]");
    }

    #[test]
    fn keeps_other_text() {
        for text in [
            "",
            "%",
            "%2",
            "%zz %+1 %é",
            "AADSTS700213: No matching federated identity record found for presented assertion subject 'swordfish'",
            "7c5e6a0e-1f2b-4d3c-8a9b-0c1d2e3f4a5b",
            &ASSERTION[..7],
        ] {
            assert_eq!(removed(text), text);
        }
    }

    #[test]
    fn removes_short_secrets_as_they_are() {
        for (secret, text, expected) in [
            ("a:b!c", "key A:b!c no", "key [redacted] no"),
            ("a:b!c", "abc", "abc"),
            ("!!", "no!!", "no[redacted]"),
            ("", "no", "no"),
        ] {
            let secret = SecretString::new(secret.to_owned());
            let secret = RepeatedSecret::new(Some(&secret));
            assert_eq!(secret.remove_from(text), expected);
        }
        assert_eq!(RepeatedSecret::new(None).remove_from("no"), "no");
    }
}
