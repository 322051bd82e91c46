use crate::Claims;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use std::fmt;

/// One challenge of a `WWW-Authenticate` header: a scheme and its parameters (RFC 9110 section 11.6.1). `Debug` hides
/// them.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Challenge<'a> {
    /// Parses the challenges of one header value: at most 64 KiB, 16 challenges and 64 parameters of each. A value may contain
    /// bytes that are not ASCII (RFC 9110 sections 5.5 and 5.6.4); those that are not UTF-8 become U+FFFD. Malformed parts
    /// are skipped up to the next comma; an unterminated quoted string ends the parsing.
    pub fn parse_all(value: &'a (impl AsRef<[u8]> + ?Sized)) -> Vec<Self> {
        let value = value.as_ref();
        let mut challenges: Vec<Self> = Vec::new();
        if value.len() > MAX_HEADER {
            return challenges;
        }
        let mut rest = Reader(value);
        while rest.skip_to_name() {
            let name = rest.next_name();
            match rest.value() {
                Value::None if name.is_empty() => rest.skip_to_comma(),
                Value::None if challenges.len() < MAX_CHALLENGES => {
                    rest.skip_token68();
                    challenges.push(Self {
                        scheme: name,
                        parameters: Vec::new(),
                    });
                }
                Value::Text(text) => match challenges.last_mut() {
                    Some(last) if last.parameters.len() < MAX_PARAMETERS => {
                        last.parameters.push((name, text));
                    }
                    Some(_) => break,
                    None => {}
                },
                Value::Empty => {}
                Value::None | Value::Unterminated => break,
            }
        }
        challenges
    }

    /// The scheme (`Bearer`, `PoP`, …) in its original case; schemes are compared without case.
    pub fn scheme(&self) -> &str {
        self.scheme
    }

    /// The value of a parameter. `None` if it is missing or occurs twice, which RFC 9110 forbids.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The claims for a new token (continuous access evaluation): the parameter `claims`, base64 of a JSON object, if `error`
    /// is `insufficient_claims` or missing.
    pub fn claims(&self) -> Option<Claims> {
        let has_error = self.values("error").next().is_some();
        let is_insufficient = |error: &str| error.eq_ignore_ascii_case("insufficient_claims");
        if has_error && !self.parameter("error").is_some_and(is_insufficient) {
            return None;
        }
        let claims = self.parameter("claims")?;
        if claims.starts_with('{') {
            return Claims::parse(claims).ok();
        }
        // Services use both alphabets.
        let standard = claims.replace('-', "+").replace('_', "/");
        let json = String::from_utf8(BASE64.decode(standard).ok()?).ok()?;
        Claims::parse(&json).ok()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parameters
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }
}

impl fmt::Debug for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({} parameters)", self.parameters.len())
    }
}

/// The rest of a header value.
struct Reader<'a>(&'a [u8]);

/// The value after a name.
enum Value<'a> {
    /// There is no `=`: the name is a scheme.
    None,
    Text(Cow<'a, str>),
    /// Nothing after the `=`.
    Empty,
    /// A quoted string without an end.
    Unterminated,
}

impl<'a> Reader<'a> {
    /// Skips commas and spaces; returns whether anything remains.
    fn skip_to_name(&mut self) -> bool {
        self.take_while(|byte| is_space(byte) || byte == b',');
        !self.0.is_empty()
    }

    /// The next name; empty if something else follows.
    fn next_name(&mut self) -> &'a str {
        // All of these bytes are ASCII.
        std::str::from_utf8(self.take_while(is_token_byte)).unwrap_or_default()
    }

    fn value(&mut self) -> Value<'a> {
        let mut ahead = Reader(self.0);
        ahead.skip_spaces();
        let Some(after) = ahead.0.strip_prefix(b"=") else {
            return Value::None;
        };
        self.0 = after;
        self.skip_spaces();
        match self.0.strip_prefix(b"\"") {
            Some(quoted) => self.quoted(quoted),
            // Services send values that contain an equals sign without quotes.
            None => match self.take_while(|byte| !is_space(byte) && byte != b',') {
                b"" => Value::Empty,
                text => Value::Text(String::from_utf8_lossy(text)),
            },
        }
    }

    fn quoted(&mut self, text: &'a [u8]) -> Value<'a> {
        let mut unescaped: Option<Vec<u8>> = None;
        let mut escaped = false;
        for (index, &found) in text.iter().enumerate() {
            if escaped {
                escaped = false;
            } else if found == b'\\' {
                escaped = true;
                unescaped.get_or_insert_with(|| text[..index].to_owned());
                continue;
            } else if found == b'"' {
                self.0 = &text[index + 1..];
                return Value::Text(match unescaped {
                    Some(unescaped) => String::from_utf8_lossy(&unescaped).into_owned().into(),
                    None => String::from_utf8_lossy(&text[..index]),
                });
            }
            if let Some(unescaped) = &mut unescaped {
                unescaped.push(found);
            }
        }
        Value::Unterminated
    }

    /// Skips the token68 that a scheme may have instead of parameters.
    fn skip_token68(&mut self) {
        let mut ahead = Reader(self.0);
        ahead.skip_spaces();
        ahead.take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
        });
        ahead.take_while(|byte| byte == b'=');
        ahead.skip_spaces();
        if matches!(ahead.0.first(), None | Some(b',')) {
            self.0 = ahead.0;
        }
    }

    fn skip_spaces(&mut self) {
        self.take_while(is_space);
    }

    /// Ignores commas in quoted strings.
    fn skip_to_comma(&mut self) {
        self.take_while(|byte| byte != b',' && byte != b'"');
        while let Some(quoted) = self.0.strip_prefix(b"\"") {
            if matches!(self.quoted(quoted), Value::Unterminated) {
                self.0 = b"";
            }
            self.take_while(|byte| byte != b',' && byte != b'"');
        }
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !wanted(*byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Claims have at most 64 KiB, and so has the head of a response.
const MAX_HEADER: usize = 64 * 1024;
const MAX_CHALLENGES: usize = 16;
const MAX_PARAMETERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD as PADDED, URL_SAFE_NO_PAD};

    type Parameters<'a> = Vec<(&'a str, Cow<'a, str>)>;

    fn read(value: &str) -> Vec<(&str, Parameters<'_>)> {
        let challenges = Challenge::parse_all(value).into_iter();
        challenges
            .map(|challenge| (challenge.scheme, challenge.parameters))
            .collect()
    }

    fn claims(value: &str) -> Option<Claims> {
        Challenge::parse_all(value)
            .iter()
            .find_map(Challenge::claims)
    }

    #[test]
    fn separates_challenges_and_parameters() {
        let value = r#"Negotiate, NTLM TlRM, Basic YWJj==, Bearer realm="", x = "a\"b,c" ,y=z==, PoP nonce="n""#;
        assert_eq!(
            read(value),
            [
                ("Negotiate", vec![]),
                ("NTLM", vec![]),
                ("Basic", vec![]),
                (
                    "Bearer",
                    vec![
                        ("realm", "".into()),
                        ("x", "a\"b,c".into()),
                        ("y", "z==".into())
                    ]
                ),
                ("PoP", vec![("nonce", "n".into())]),
            ]
        );
    }

    #[test]
    fn skips_malformed_parts() {
        for (value, schemes) in [
            ("", 0),
            ("=", 0),
            ("a=b", 0),
            ("a=b, Bearer", 1),
            ("=b, Bearer", 1),
            ("\"a, Bearer", 0),
            ("\"a, Bearer\"", 0),
            ("B \"a, b\" \", c\", d", 2),
            ("B ü=\"a\\\", b\", d", 2),
            ("B \"a\" c, d", 2),
            ("B/, d", 2),
            (r#"Bearer a="b"#, 1),
            (r#"Bearer a="b, Basic"#, 1),
            (r#"Bearer a="b" ü, Basic"#, 2),
            ("Bearer a=b, c=, Basic", 2),
            ("Bearer a=, Basic", 2),
            (",, ,Bearer", 1),
            ("Bearer\u{7f}", 1),
        ] {
            assert_eq!(Challenge::parse_all(value).len(), schemes, "{value:?}");
        }
        assert!(read(r#"Bearer a="b"#)[0].1.is_empty());
    }

    #[test]
    fn parses_text_that_is_not_ascii() {
        let encoded = URL_SAFE_NO_PAD.encode("{}");
        for description in [
            &b"\"Credenciales no v\xc3\xa1lidas.\""[..],
            b"\"Credenciales no v\xe1lidas.\"",
            b"\"\\\xc3\xa9\xff \\\" , claims=x\"",
            b"Credenciales no v\xc3\xa1lidas",
            b"v\xe1lidas",
            b"\xe1",
            b"\"\"",
            b"",
        ] {
            let value = [
                b"Negotiate, Bearer error=\"insufficient_claims\", error_description=",
                description,
                b", claims=\"",
                encoded.as_bytes(),
                b"\"",
            ]
            .concat();
            let challenges = Challenge::parse_all(&value);
            let found = challenges.iter().find_map(Challenge::claims);
            assert_eq!(found, Claims::parse("{}").ok(), "{}", value.escape_ascii());
        }
        let read = |value| {
            Challenge::parse_all(value)[0]
                .parameter("a")
                .unwrap()
                .to_owned()
        };
        assert_eq!(read(&b"B a=\"\xc3\xa1\""[..]), "\u{e1}");
        assert_eq!(read(b"B a=\"\\\xe1\""), "\u{fffd}");
    }

    #[test]
    fn decodes_claims_in_both_alphabets_with_and_without_padding() {
        let json = r#"{"access_token":{"acrs":{"value":"c1?>~"}}}"#;
        let expected = Claims::parse(json).unwrap();
        for encoded in [
            PADDED.encode(json),
            URL_SAFE_NO_PAD.encode(json),
            json.replace('"', "\\\""),
        ] {
            let value = format!(
                r#"Bearer realm="", authorization_uri="https://login.example/a", error="insufficient_claims", claims="{encoded}", PoP realm="", nonce="eyJ""#
            );
            assert_eq!(claims(&value).as_ref(), Some(&expected), "{value}");
        }
        let bare = format!("Bearer claims={}", URL_SAFE_NO_PAD.encode(json));
        assert_eq!(claims(&bare), Some(expected));
    }

    #[test]
    fn ignores_claims_with_another_error_or_malformed() {
        let encoded = URL_SAFE_NO_PAD.encode("{}");
        for value in [
            format!(r#"Bearer error="invalid_token", claims="{encoded}""#),
            format!(r#"Bearer error="insufficient_claims", error="x", claims="{encoded}""#),
            format!(r#"Bearer claims="{encoded}", claims="{encoded}""#),
            r#"Bearer claims="%%%""#.to_owned(),
            format!(r#"Bearer claims="{}""#, URL_SAFE_NO_PAD.encode("[1]")),
            format!(r#"Bearer claims="{}""#, URL_SAFE_NO_PAD.encode(b"\xff")),
            "Bearer".to_owned(),
        ] {
            assert_eq!(claims(&value), None, "{value}");
        }
    }

    #[test]
    fn finds_parameters_without_case() {
        let challenges = Challenge::parse_all(r#"bearer Error_Description="AADSTS500181: no""#);
        assert_eq!(challenges[0].scheme(), "bearer");
        assert_eq!(
            challenges[0].parameter("error_description"),
            Some("AADSTS500181: no")
        );
    }

    #[test]
    fn bounded_input() {
        assert_eq!(Challenge::parse_all(&"a,".repeat(100)).len(), 16);
        let many = format!("Bearer {}", "a=b,".repeat(100));
        assert_eq!(Challenge::parse_all(&many)[0].parameters.len(), 64);
        let long = format!(r#"Bearer a="{}""#, "x".repeat(64 * 1024));
        assert!(Challenge::parse_all(&long).is_empty());
    }

    #[test]
    fn secrets_stay_secret_in_debug() {
        let challenges = Challenge::parse_all(r#"Bearer nonce="swordfish""#);
        assert_eq!(format!("{challenges:?}"), "[Challenge(1 parameters)]");
    }
}
