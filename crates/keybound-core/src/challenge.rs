use crate::Claims;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use std::fmt;

/// One challenge of a `WWW-Authenticate` header: a scheme and its parameters (RFC 9110 section 11.6.1). `Debug` shows
/// none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge<'a> {
    scheme: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Challenge<'a> {
    /// Reads the challenges of one header value: at most 64 KiB, 16 challenges and 64 parameters of each. What cannot be
    /// read ends the list; what was read before it stays.
    pub fn parse_all(value: &'a str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        if value.len() > LONGEST {
            return challenges;
        }
        let mut rest = Reader(value);
        while let Some(name) = rest.next_name() {
            match rest.value(!challenges.is_empty()) {
                Value::None if challenges.len() < MOST_CHALLENGES => {
                    rest.skip_token68();
                    challenges.push(Self {
                        scheme: name,
                        parameters: Vec::new(),
                    });
                }
                Value::Text(text) => match challenges.last_mut() {
                    Some(last) if last.parameters.len() < MOST_PARAMETERS => {
                        last.parameters.push((name, text));
                    }
                    _ => break,
                },
                Value::None | Value::Malformed => break,
            }
        }
        challenges
    }

    /// `Bearer`, `PoP`, … as it came: schemes are compared without regard to case.
    pub fn scheme(&self) -> &str {
        self.scheme
    }

    /// The value of a parameter. `None` where it is absent, or stands twice, which RFC 9110 forbids.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self
            .parameters
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// The claims that a new token must meet (continuous access evaluation): those of `claims`, base64 of a JSON object,
    /// where `error` is `insufficient_claims` or is not said.
    pub fn claims(&self) -> Option<Claims> {
        let says_otherwise = self.has("error")
            && !self
                .parameter("error")
                .is_some_and(|error| error.eq_ignore_ascii_case("insufficient_claims"));
        if says_otherwise {
            return None;
        }
        let claims = self.parameter("claims")?;
        if claims.starts_with('{') {
            return Claims::parse(claims).ok();
        }
        // Both alphabets are seen.
        let standard = claims.replace('-', "+").replace('_', "/");
        let json = String::from_utf8(BASE64.decode(standard).ok()?).ok()?;
        Claims::parse(&json).ok()
    }

    fn has(&self, name: &str) -> bool {
        self.parameters
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({} parameters)", self.parameters.len())
    }
}

/// What is left of a header value.
struct Reader<'a>(&'a str);

/// What follows a name.
enum Value<'a> {
    /// No `=`: the name is that of a scheme.
    None,
    Text(Cow<'a, str>),
    Malformed,
}

impl<'a> Reader<'a> {
    /// The next name, past commas and spaces.
    fn next_name(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        let name = self.take_while(is_token_byte);
        (!name.is_empty()).then_some(name)
    }

    fn value(&mut self, in_challenge: bool) -> Value<'a> {
        let Some(after) = self.0.trim_start_matches(SPACES).strip_prefix('=') else {
            return Value::None;
        };
        if !in_challenge {
            return Value::Malformed;
        }
        self.0 = after.trim_start_matches(SPACES);
        match self.0.strip_prefix('"') {
            Some(quoted) => self.quoted(quoted),
            // Values with an equals sign in them are seen without quotes.
            None => match self.take_while(|byte| byte.is_ascii_graphic() && byte != b',') {
                "" => Value::Malformed,
                text => Value::Text(Cow::Borrowed(text)),
            },
        }
    }

    fn quoted(&mut self, text: &'a str) -> Value<'a> {
        let mut unescaped: Option<String> = None;
        let mut escaped = false;
        for (index, found) in text.char_indices() {
            if escaped {
                escaped = false;
            } else if found == '\\' {
                escaped = true;
                unescaped.get_or_insert_with(|| text[..index].to_owned());
                continue;
            } else if found == '"' {
                self.0 = &text[index + 1..];
                return Value::Text(match unescaped {
                    Some(unescaped) => Cow::Owned(unescaped),
                    None => Cow::Borrowed(&text[..index]),
                });
            }
            if let Some(unescaped) = &mut unescaped {
                unescaped.push(found);
            }
        }
        Value::Malformed
    }

    /// What a scheme may have in the place of parameters: base64 text by itself.
    fn skip_token68(&mut self) {
        let start = self.0.trim_start_matches(SPACES);
        let mut ahead = Reader(start);
        let text = ahead.take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
        });
        let end = ahead.0.trim_start_matches('=').trim_start_matches(SPACES);
        if start.len() < self.0.len()
            && !text.is_empty()
            && (end.is_empty() || end.starts_with(','))
        {
            self.0 = end;
        }
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let end = self
            .0
            .bytes()
            .position(|byte| !wanted(byte))
            .unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const SPACES: [char; 2] = [' ', '\t'];
/// Claims have at most 64 KiB, and a head of an answer no more than that either.
const LONGEST: usize = 64 * 1024;
const MOST_CHALLENGES: usize = 16;
const MOST_PARAMETERS: usize = 64;

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
    fn challenges_and_their_parameters_are_told_apart() {
        let value =
            r#"Negotiate, Basic YWJj=, Bearer realm="", x = "a\"b,c" ,y=z==, PoP nonce="n""#;
        assert_eq!(
            read(value),
            [
                ("Negotiate", vec![]),
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
    fn what_cannot_be_read_ends_the_list() {
        for (value, schemes) in [
            ("", 0),
            ("=", 0),
            ("a=b", 0),
            (r#"Bearer a="b"#, 1),
            (r#"Bearer a="b" ü, Basic"#, 1),
            ("Bearer a=b, c=, Basic", 1),
            ("Bearer a=, Basic", 2),
            (",, ,Bearer", 1),
            ("Bearer\u{7f}", 1),
        ] {
            assert_eq!(Challenge::parse_all(value).len(), schemes, "{value:?}");
        }
        assert!(read(r#"Bearer a="b"#)[0].1.is_empty());
    }

    #[test]
    fn claims_are_found_in_either_alphabet_with_and_without_padding() {
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
    fn another_error_two_values_and_garbage_are_no_claims() {
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
    fn parameters_are_found_without_regard_to_case() {
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
        let shown = format!("{challenges:?}");
        assert!(!shown.contains("swordfish"), "{shown}");
    }
}
