use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// The thumbprint `x5t#S256`: the SHA-256 of the certificate's DER in base64url without padding (RFC 8705 section 3.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct X5tS256(String);

impl X5tS256 {
    /// Computes the thumbprint of a certificate.
    pub fn of_der(certificate: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(certificate)))
    }

    /// Parses the text of a thumbprint, 43 characters of base64url without padding; `None` for anything else, among it the hexadecimal form
    /// that tools show.
    pub fn parse(text: &str) -> Option<Self> {
        // A text that is not the only encoding of its bytes is an error.
        let digest = URL_SAFE_NO_PAD.decode(text).ok()?;
        (digest.len() == Sha256::output_size()).then(|| Self(text.to_owned()))
    }

    /// The text, 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares with a claim in constant time.
    pub fn matches(&self, claim: &str) -> bool {
        self.0.as_bytes().ct_eq(claim.as_bytes()).into()
    }
}

impl fmt::Display for X5tS256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for X5tS256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hashes of a certificate's DER that tools show: SHA-1 and SHA-256 in upper-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thumbprints {
    /// SHA-1, 40 digits, the "Thumbprint" of Windows. Not for security decisions.
    pub sha1: String,
    /// SHA-256, 64 digits.
    pub sha256: String,
    /// The form used in tokens.
    pub x5t_s256: X5tS256,
}

impl Thumbprints {
    /// Computes the thumbprints of a certificate.
    pub fn of_der(certificate: &[u8]) -> Self {
        Self {
            sha1: upper_hex(&Sha1::digest(certificate)),
            sha256: upper_hex(&Sha256::digest(certificate)),
            x5t_s256: X5tS256::of_der(certificate),
        }
    }
}

/// The SHA-1 thumbprint that names the one certificate that a server may present, as in Service Fabric's variable
/// `IDENTITY_SERVER_THUMBPRINT`.
///
/// Another certificate with the same thumbprint would be a second preimage of SHA-1, which is not feasible; the collisions that
/// are do not concern a certificate that its owner has chosen.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha1Thumbprint([u8; 20]);

impl Sha1Thumbprint {
    /// Parses exactly 40 hexadecimal digits in either case; `None` for anything else, as in MSAL .NET: separators and
    /// surrounding spaces are not part of a thumbprint.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 40] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// Computes the thumbprint of a certificate's DER.
    pub fn of_der(certificate: &[u8]) -> Self {
        Self(Sha1::digest(certificate).into())
    }
}

impl fmt::Display for Sha1Thumbprint {
    /// 40 upper-case digits, as Windows shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&upper_hex(&self.0))
    }
}

impl fmt::Debug for Sha1Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

fn upper_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of `printf abc | openssl sha1 / sha256`.
    #[test]
    fn matches_known_hashes() {
        let prints = Thumbprints::of_der(b"abc");
        assert_eq!(prints.sha1, "A9993E364706816ABA3E25717850C26C9CD0D89D");
        assert_eq!(
            prints.sha256,
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
        );
        assert_eq!(
            prints.x5t_s256.as_str(),
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
        );
    }

    #[test]
    fn sha1_thumbprint_is_40_hexadecimal_digits_in_either_case() {
        let expected = Sha1Thumbprint::of_der(b"abc");
        let upper = "A9993E364706816ABA3E25717850C26C9CD0D89D";
        for text in [upper, &upper.to_lowercase()] {
            let parsed = Sha1Thumbprint::parse(text).unwrap();
            assert_eq!(parsed, expected);
            assert_eq!(parsed.to_string(), upper);
            assert_eq!(format!("{parsed:?}"), upper);
        }
        assert_ne!(expected, Sha1Thumbprint::of_der(b"abd"));
        let (short, rest) = (&upper[..39], &upper[1..]);
        let colons = upper.as_bytes().chunks(2).map(String::from_utf8_lossy);
        for text in [
            "",
            short,
            &format!("{upper}0"),
            &format!("{upper} "),
            &format!(" {upper}"),
            &format!("{short}G"),
            &format!("+{rest}"),
            &format!("\u{e9}{}", &upper[2..]),
            &format!("\u{200e}{upper}"),
            &colons.collect::<Vec<_>>().join(":"),
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        ] {
            assert_eq!(Sha1Thumbprint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn thumbprint_has_one_text() {
        let text = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
        let parsed = X5tS256::parse(text).unwrap();
        assert_eq!(parsed, X5tS256::of_der(b"abc"));
        assert_eq!(parsed.to_string(), text);
        for other in [
            "",
            &text[..42],
            &text[1..],
            &format!("{text}="),
            &format!("{text}A"),
            &format!(" {text}"),
            &format!("{text}\n"),
            &text.replace('_', "/"),
            // Other bits that are not part of the digest.
            &text.replace("Fa0", "Fa1"),
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        ] {
            assert_eq!(X5tS256::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn compares_exactly() {
        let print = X5tS256::of_der(b"abc");
        assert!(print.matches("ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"));
        assert!(!print.matches("ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0="));
        assert!(!print.matches("ungwv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"));
        assert!(!print.matches(""));
    }
}
