use crate::Guid;
use crate::text::printable_character;

/// Prepares a service's text for logs and terminals: one line of at most 1024 printable characters, with `[redacted]` in
/// place of what looks like a secret: JWTs, certificates and keys (PEM or base64), words of more than 128 characters, the
/// values of `…secret=`, `…token=` and the like, and shorter words that look random. GUIDs, URLs, names and SHA-1
/// thumbprints remain.
///
/// Short secrets are recognized by a heuristic: redaction is a second defense, beside the rule that texts contain no secrets.
pub fn redact(text: &str) -> String {
    let mut out = Output::default();
    let mut rest = text;
    let mut name_of_secret = false;
    while !rest.is_empty() && !out.full {
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
    /// Adds a word completely or not at all: part of a secret would not be recognized.
    fn word(&mut self, word: &str) {
        if self.make_room(word.len()) {
            self.text.push_str(word);
        }
    }

    fn gap(&mut self, gap: &str) {
        for character in gap.chars().map(printable_character) {
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
        if self.length > MAX_OUTPUT {
            self.full = true;
            self.text.push('…');
        }
        !self.full
    }
}

/// The length of the PEM block at the beginning of `text`; without an end it is the whole text.
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

/// The length of the word at the beginning of `text`, up to a PEM block.
fn word_length(text: &str) -> usize {
    let length = text.find(|c| !is_word_character(c)).unwrap_or(text.len());
    text[..length].find(PEM_BEGIN).unwrap_or(length)
}

fn gap_length(text: &str) -> usize {
    text.find(is_word_character).unwrap_or(text.len())
}

/// The characters of base64, base64url, JWTs, GUIDs and URLs without a query.
fn is_word_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.+/=~".contains(character)
}

fn is_secret(word: &str) -> bool {
    word.len() > MAX_WORD
        || (word.len() > 8 && word.contains(JWT_BEGIN))
        || assigns_secret(word)
        || looks_random(word)
}

/// Whether a word has the form `client_secret=x`.
fn assigns_secret(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, value)| names_secret(name) && !value.is_empty())
}

fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

/// Whether a word, except for GUIDs, looks random.
fn looks_random(word: &str) -> bool {
    outside_guids(word).any(|part| {
        is_mixed(part, 32)
            || part
                .split(['/', '.', '='])
                .any(|piece| is_long_hex(piece) || is_mixed(piece, 20))
    })
}

/// The parts of a word between its GUIDs.
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

/// Longer than a SHA-1 thumbprint, 40 digits.
fn is_long_hex(piece: &str) -> bool {
    piece.len() > 40 && piece.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether at least `min` letters and digits change between cases and digits as often as in random text: in random base64
/// about every second character, in names in camel case about every fourth.
fn is_mixed(part: &str, min: usize) -> bool {
    let bytes = part.as_bytes();
    let count = bytes
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .count();
    let hex = bytes.iter().all(u8::is_ascii_hexdigit);
    let breaks = (1..bytes.len()).filter(|&at| is_break(bytes, at)).count();
    count >= min && !hex && breaks * 10 >= count * 3
}

/// Whether a part of a name in camel case, or a number in it, begins at this byte.
fn is_break(bytes: &[u8], at: usize) -> bool {
    let (left, right) = (bytes[at - 1], bytes[at]);
    let ends_capitals = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
    (left.is_ascii_lowercase() && right.is_ascii_uppercase())
        || (left.is_ascii_uppercase() && right.is_ascii_uppercase() && ends_capitals)
        || (left.is_ascii_digit() && right.is_ascii_alphabetic())
        || (left.is_ascii_alphabetic() && right.is_ascii_digit())
}

const REDACTED: &str = "[redacted]";
const MAX_OUTPUT: usize = 1024;
/// Longer than words, GUIDs, host names and short URLs of services; shorter than tokens and certificates.
const MAX_WORD: usize = 128;
const GUID_LENGTH: usize = 36;
/// base64url of `{"`, the beginning of a JWT.
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
    use crate::text::is_unprintable;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use sha2::{Digest as _, Sha256, Sha512};

    /// Reproducible bytes that look random.
    fn random(seed: usize) -> Vec<u8> {
        Sha512::digest(format!("redact {seed}")).to_vec()
    }

    fn assert_unchanged(text: &str) {
        assert_eq!(redact(text), text);
    }

    #[test]
    fn keeps_ordinary_text() {
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
            assert_unchanged(text);
        }
        let word = "word-".repeat(26);
        assert_unchanged(&word[..128]);
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
    fn redacts_whole_pem_blocks() {
        let lines = "MIIBVgIBADANBgkqhkiG9w0BAQEFAASCAUAwggE8AgEAAkEAq7BFUpkGp3+LQmlQ\nYx2eqzDV+xeG8kx/sQFV18S5\nab";
        let block =
            format!("-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----");
        assert_eq!(redact(&format!("key {block} end")), "key [redacted] end");
        assert_eq!(redact(&format!("key:{block}")), "key:[redacted]");
        assert_eq!(redact(&format!("x{block}y")), "x[redacted]y");
        assert_eq!(redact(&block[..60]), "[redacted]");
    }

    #[test]
    fn redacts_random_words() {
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
        // Keys of 32 bytes are short: nearly all are recognized.
        let missed = (0..1000)
            .filter(|&seed| {
                let secret = STANDARD.encode(&random(seed)[..32]);
                redact(&secret).contains(&secret)
            })
            .count();
        assert!(missed <= 10, "{missed} of 1000");
    }

    #[test]
    fn does_not_truncate_a_secret_at_the_limit() {
        let secret = URL_SAFE_NO_PAD.encode(Sha256::digest("x"));
        for filler in 980..1030 {
            let text = redact(&format!("{} {secret}", "a ".repeat(filler / 2)));
            assert!(!text.contains(&secret[..4]), "{text}");
            assert!(text.chars().count() <= MAX_OUTPUT + 1);
        }
    }

    #[test]
    fn truncates_text_after_1024_characters() {
        let text = "a ".repeat(512);
        assert_eq!(redact(&text), text);
        assert_eq!(redact(&format!("{text}b")), format!("{text}…"));
        assert_eq!(redact(&format!("{text},")), format!("{text}…"));
    }

    #[test]
    fn replaces_terminal_controls() {
        let text = redact("\u{1b}[31mred\u{202e}\u{9b}\r\nx");
        assert!(!text.chars().any(is_unprintable), "{text:?}");
    }

    #[test]
    fn is_idempotent() {
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
