use crate::{Error, ErrorKind, MAX_JWT, Result, SecretString, Stage};

/// Whether, and by what, a binding key was attested. Part of every cache key: attested and unattested never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attestation {
    /// No attestation was asked for.
    None,
    /// The attestation service (MAA) vouched for the key.
    Attested,
    /// The emulator vouched for a simulated key: proof of nothing.
    Simulated,
}

impl Attestation {
    /// The word used in results: `none`, `attested` or `simulated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Attested => "attested",
            Self::Simulated => "simulated",
        }
    }
}

/// A JWT of the attestation service: never empty, never blank, bounded. `Debug` hides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationToken(SecretString);

impl AttestationToken {
    /// Takes the text over.
    ///
    /// # Errors
    /// [`ErrorKind::AttestationFailed`] where the text is blank, longer than [`MAX_JWT`] or not in the compact form of
    /// a JWT (three parts, none empty): an attestation that was asked for must be had.
    pub fn new(text: String) -> Result<Self> {
        let text = SecretString::new(text);
        if text.expose().len() > MAX_JWT || !is_compact(text.expose()) {
            return Err(Error::new(
                ErrorKind::AttestationFailed,
                Stage::Attestation,
                "the attestation yielded no usable token",
            ));
        }
        Ok(Self(text))
    }

    /// The JWT. It goes to IMDS and nowhere else.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

fn is_compact(text: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let mut parts = 0;
    text.split('.').all(|part| {
        parts += 1;
        !part.is_empty() && part.bytes().all(base64url)
    }) && parts == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_and_malformed_tokens_are_refused() {
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
    fn words_of_attestation() {
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
