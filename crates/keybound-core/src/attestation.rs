use crate::{Error, ErrorKind, MAX_JWT, Result, SecretString, Stage};

/// Whether and by whom a binding key is attested. Part of every cache key: attested and unattested results never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attestation {
    /// Not attested.
    None,
    /// Attested by the attestation service (MAA).
    Attested,
    /// A simulated key, attested by the emulator. It proves nothing.
    Simulated,
}

impl Attestation {
    /// The name in results: `none`, `attested` or `simulated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Attested => "attested",
            Self::Simulated => "simulated",
        }
    }
}

/// A JWT of the attestation service, of bounded length. `Debug` hides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationToken(SecretString);

impl AttestationToken {
    /// Takes ownership of the text.
    ///
    /// # Errors
    /// [`ErrorKind::AttestationFailed`] if the text is longer than [`MAX_JWT`] or not in the compact form of a JWT (three
    /// parts, none empty).
    pub fn new(text: String) -> Result<Self> {
        let text = SecretString::new(text);
        if text.expose().len() > MAX_JWT || !is_compact(text.expose()) {
            return Err(Error::new(
                ErrorKind::AttestationFailed,
                Stage::Attestation,
                "the attestation returned no usable token",
            ));
        }
        Ok(Self(text))
    }

    /// The JWT. It is sent to IMDS only.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

fn is_compact(text: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(base64url);
    text.split('.').count() == 3 && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_malformed_tokens() {
        for text in [
            "",
            " ",
            "\n",
            "a.b",
            "a.b.c.d",
            "..",
            "a..c",
            "a.b.",
            "a.b.c=",
            "a.b.\u{e4}",
            "a.b.c\r\n",
            &"a".repeat(MAX_JWT + 1),
        ] {
            let error = AttestationToken::new(text.to_owned()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AttestationFailed);
        }
        for text in ["a.b.c", "aZ09-_.-.__"] {
            let token = AttestationToken::new(text.to_owned()).unwrap();
            assert_eq!(token.expose(), text);
        }
    }

    #[test]
    fn names_match_results() {
        let all = [
            Attestation::None,
            Attestation::Attested,
            Attestation::Simulated,
        ];
        assert_eq!(
            all.map(Attestation::as_str),
            ["none", "attested", "simulated"]
        );
    }
}
