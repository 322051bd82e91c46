use crate::Guid;
use crate::text::shown;

/// Makes a service's text fit for logs and terminals: one line of at most 1024 characters, without characters that
/// control or reorder what is shown, and with `[redacted]` in place of what looks like a secret: JWTs, certificates and
/// keys (PEM or base64), anything without a break over more than 128 characters, the value of `…secret=`, `…token=` and
/// the like, and shorter words that look drawn by lot. GUIDs, URLs, names and thumbprints of SHA-1 stay.
///
/// The look of a short secret is a guess: this is a net below the rule that secrets are not put into texts, not a
/// substitute for it.
pub fn redact(text: &str) -> String {
    let mut out = Output::default();
    let mut rest = text;
    let mut name_of_secret = false;
    while !rest.is_empty() && !out.is_full() {
        if rest.starts_with(PEM_BEGIN) {
            out.word(REDACTED);
            rest = &rest[pem_length(rest)..];
            continue;
        }
        let (word, after) = rest.split_at(word_length(rest));
        if !word.is_empty() {
            let secret = (name_of_secret && word != "redacted") || is_secret(word);
            out.word(if secret { REDACTED } else { word });
        }
        let (gap, after) = after.split_at(gap_length(after));
        out.gap(gap);
        name_of_secret = names_secret(word) && gap.starts_with(['"', '\'']) && gap.contains(':');
        rest = after;
    }
    out.text
}

#[derive(Default)]
struct Output {
    text: String,
    length: usize,
    full: bool,
}

impl Output {
    /// Whole or not at all: half a word no longer looks like what it is.
    fn word(&mut self, word: &str) {
        if self.make_room(word.len()) {
            self.text.push_str(word);
        }
    }

    fn gap(&mut self, gap: &str) {
        for character in gap.chars().map(shown) {
            if !self.make_room(1) {
                return;
            }
            self.text.push(character);
        }
    }

    fn make_room(&mut self, length: usize) -> bool {
        if self.full {
            return false;
        }
        self.length += length;
        if self.length > LONGEST_TEXT {
            self.full = true;
            self.text.push('…');
        }
        !self.full
    }

    fn is_full(&self) -> bool {
        self.full
    }
}

/// Length of a PEM block at the beginning of `text`; one without an end takes all.
fn pem_length(text: &str) -> usize {
    let Some(end) = text.find(PEM_END) else {
        return text.len();
    };
    let after = end + PEM_END.len();
    match text[after..].find(PEM_DASHES) {
        Some(dashes) => after + dashes + PEM_DASHES.len(),
        None => text.len(),
    }
}

/// Length of the word at the beginning of `text`; a PEM block is not part of one.
fn word_length(text: &str) -> usize {
    let length = text.find(|c| !is_word_character(c)).unwrap_or(text.len());
    text[..length].find(PEM_BEGIN).unwrap_or(length)
}

fn gap_length(text: &str) -> usize {
    text.find(is_word_character).unwrap_or(text.len())
}

/// All that base64, base64url, JWTs, GUIDs and URLs without a query are made of.
fn is_word_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.+/=~".contains(character)
}

fn is_secret(word: &str) -> bool {
    word.len() > LONGEST_WORD
        || (word.len() > 8 && word.contains(JWT_BEGIN))
        || gives_secret(word)
        || looks_random(word)
}

/// Whether a word is of the form `client_secret=x`.
fn gives_secret(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, value)| names_secret(name) && !value.is_empty())
}

fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

/// Whether a word, GUIDs left aside, looks drawn by lot rather than written by a person.
fn looks_random(word: &str) -> bool {
    outside_guids(word).any(|part| {
        is_broken_up(part, 32)
            || part
                .split(['/', '.', '='])
                .any(|piece| is_long_hex(piece) || is_broken_up(piece, 20))
    })
}

/// What is left of a word without its GUIDs.
fn outside_guids(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let guid = (0..rest.len()).find(|&at| {
            rest.get(at..at + GUID_LENGTH)
                .is_some_and(|text| Guid::parse(text).is_some())
        });
        let (part, after) = match guid {
            Some(at) => (&rest[..at], &rest[at + GUID_LENGTH..]),
            None => (rest, ""),
        };
        rest = after;
        Some(part)
    })
}

/// A SHA-1 thumbprint is 40 digits long.
fn is_long_hex(piece: &str) -> bool {
    piece.len() > 40 && piece.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether letters and digits, at least `least` of them, change as often as chance has it: names in camel case begin a
/// new part every four characters or so, random base64 every second one.
fn is_broken_up(part: &str, least: usize) -> bool {
    let bytes = part.as_bytes();
    let count = bytes
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .count();
    let hex = bytes.iter().all(u8::is_ascii_hexdigit);
    let breaks = (1..bytes.len()).filter(|&at| is_break(bytes, at)).count();
    count >= least && !hex && breaks * 10 >= count * 3
}

/// Whether another part of a name in camel case, or a number in it, begins at this byte.
fn is_break(bytes: &[u8], at: usize) -> bool {
    let (left, right) = (bytes[at - 1], bytes[at]);
    let ends_capitals = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
    (left.is_ascii_lowercase() && right.is_ascii_uppercase())
        || (left.is_ascii_uppercase() && right.is_ascii_uppercase() && ends_capitals)
        || (left.is_ascii_digit() && right.is_ascii_alphabetic())
        || (left.is_ascii_alphabetic() && right.is_ascii_digit())
}

const REDACTED: &str = "[redacted]";
const LONGEST_TEXT: usize = 1024;
/// Longer than any word, GUID, host name or short URL that a service writes; shorter than any token or certificate.
const LONGEST_WORD: usize = 128;
const GUID_LENGTH: usize = 36;
/// base64url of `{"`: how the header of a JWT begins.
const JWT_BEGIN: &str = "eyJ";
const PEM_BEGIN: &str = "-----BEGIN";
const PEM_END: &str = "-----END";
const PEM_DASHES: &str = "-----";
const SECRET_NAMES: [&str; 8] = [
    "secret",
    "token",
    "assertion",
    "password",
    "pwd",
    "sig",
    "signature",
    "accountkey",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::is_unsafe;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use sha2::{Digest as _, Sha256, Sha512};

    /// Bytes that look random and are the same each time.
    fn random(seed: usize) -> Vec<u8> {
        Sha512::digest(format!("redact {seed}")).to_vec()
    }

    fn assert_stays(text: &str) {
        assert_eq!(redact(text), text);
    }

    #[test]
    fn words_of_services_stay() {
        for text in [
            "AADSTS700016: Application with identifier '11111111-2222-3333-4444-55555555555a' was not found in the \
             directory 'Contoso'. Trace ID: 0a1b2c3d-4e5f-6a7b-8c9d-0e1f2a3b4c00 Timestamp: 2026-01-01 00:00:00Z",
            "AADSTS392196: MtlsClientPopTokenNotSupportedByResource",
            "MtlsPopTokenNotSupportedInImdsV1",
            "https://login.microsoftonline.com/0A1B2C3D-4E5F-6A7B-8C9D-0E1F2A3B4C5D/oauth2/v2.0/token",
            "iss=https://sts.windows.net/0a1b2c3d-4e5f-6a7b-8c9d-0e1f2a3b4c5d/;location=westus2",
            "/subscriptions/0a1b2c3d-4e5f-6a7b-8c9d-0e1f2a3b4c5d/resourceGroups/rg-prod-weu-001/providers/\
             Microsoft.ManagedIdentity/x",
            "thumbprint A9993E364706816ABA3E25717850C26C9CD0D89D",
            "trace 0af7651916cd43dd8448eb211c80319c, IMDS/150.870.65.1854",
            "aks-agentpool-12345678-vmss000000 managedidentitysnissuer.login.microsoft.com",
            "Attestation Token is missing",
            "invalid_client",
            "[AKV10000]: Request is missing a Bearer or PoP token.",
            "the key was not found (token: expired)",
            "eyJ",
        ] {
            assert_stays(text);
        }
        let word = "word-".repeat(26);
        assert_stays(&word[..128]);
        assert_eq!(redact(&word[..129]), "[redacted]");
    }

    #[test]
    fn secrets_stay_secret_in_service_text() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln";
        for (text, clean) in [
            (
                format!("got token {jwt} from you, key {}", "A".repeat(200)),
                "got token [redacted] from you, key [redacted]",
            ),
            (format!("({jwt})"), "([redacted])"),
            (format!("Bearer {jwt}\r\n"), "Bearer [redacted]  "),
            ("x?client_secret=hunter2&b=c".into(), "x?[redacted]&b=c"),
            ("see eyJaaaaaa".into(), "see [redacted]"),
            (
                r#"{"access_token":"swordfish","a":"b"}"#.into(),
                r#"{"access_token":"[redacted]","a":"b"}"#,
            ),
            (
                r#"{'password': 'swordfish'}"#.into(),
                "{'password': '[redacted]'}",
            ),
        ] {
            assert_eq!(redact(&text), clean);
        }
    }

    #[test]
    fn pem_is_left_out_whole() {
        let lines = "MIIBVgIBADANBgkqhkiG9w0BAQEFAASCAUAwggE8AgEAAkEAq7BFUpkGp3+LQmlQ\nYx2eqzDV+xeG8kx/sQFV18S5\nab";
        let block =
            format!("-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----");
        assert_eq!(redact(&format!("key {block} end")), "key [redacted] end");
        assert_eq!(redact(&format!("key:{block}")), "key:[redacted]");
        assert_eq!(redact(&format!("x{block}y")), "x[redacted]y");
        assert_eq!(redact(&block[..60]), "[redacted]");
    }

    #[test]
    fn what_looks_drawn_by_lot_is_left_out() {
        for seed in 0..300 {
            let bytes = random(seed);
            let hex: String = bytes[..32]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            for secret in [
                STANDARD.encode(&bytes[..64]),
                URL_SAFE_NO_PAD.encode(&bytes[..48]),
                hex,
            ] {
                let text = redact(&format!("got {secret}, no"));
                assert_eq!(text, "got [redacted], no", "{secret}");
            }
        }
        // Keys of 32 bytes are short: nearly all are seen.
        let missed = (0..1000)
            .filter(|&seed| {
                let secret = STANDARD.encode(&random(seed)[..32]);
                redact(&secret).contains(&secret)
            })
            .count();
        assert!(missed <= 10, "{missed} of 1000");
    }

    #[test]
    fn a_secret_at_the_end_of_the_room_is_not_cut_into_a_harmless_word() {
        let secret = URL_SAFE_NO_PAD.encode(Sha256::digest("x"));
        for filler in 980..1030 {
            let text = redact(&format!("{} {secret}", "a ".repeat(filler / 2)));
            assert!(!text.contains(&secret[..4]), "{text}");
            assert!(text.chars().count() <= LONGEST_TEXT + 1);
        }
    }

    #[test]
    fn text_is_cut_after_1024_characters() {
        let text = "a ".repeat(512);
        assert_eq!(redact(&text), text);
        assert_eq!(redact(&format!("{text}b")), format!("{text}…"));
        assert_eq!(redact(&format!("{text},")), format!("{text}…"));
    }

    #[test]
    fn terminal_controls_are_replaced() {
        let text = redact("\u{1b}[31mred\u{202e}\u{9b}\r\nx");
        assert!(!text.chars().any(is_unsafe), "{text:?}");
    }

    #[test]
    fn cleaning_twice_is_cleaning_once() {
        for text in [
            "a\u{1b}b\nc",
            &"word ".repeat(1000),
            &"A".repeat(4000),
            "sig=x access_token\":\"y\"",
        ] {
            assert_eq!(redact(&redact(text)), redact(text));
        }
    }
}
