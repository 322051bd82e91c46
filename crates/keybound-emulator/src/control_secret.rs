use http::HeaderValue;
use openssl::error::ErrorStack;
use openssl::memcmp;
use std::fmt;

/// The secret of the control endpoint: 256 random bits in hexadecimal, new at each start.
pub(crate) struct ControlSecret(String);

impl ControlSecret {
    /// Creates a secret.
    ///
    /// # Errors
    /// If the host returns no random bytes.
    pub fn random() -> Result<Self, ErrorStack> {
        let mut bytes = [0; 32];
        openssl::rand::rand_bytes(&mut bytes)?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether an `Authorization` header contains the secret; compared in constant time.
    pub fn matches(&self, header: Option<&HeaderValue>) -> bool {
        let parts = header.and_then(|value| value.as_bytes().split_at_checked(BEARER.len()));
        parts.is_some_and(|(scheme, credentials)| {
            // RFC 9110 section 11.1: the scheme is case-insensitive, and one or more spaces follow.
            let credentials = credentials.trim_ascii_start();
            scheme.eq_ignore_ascii_case(BEARER)
                && credentials.len() == self.0.len()
                && memcmp::eq(credentials, self.0.as_bytes())
        })
    }
}

impl fmt::Debug for ControlSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlSecret(…)")
    }
}

const BEARER: &[u8] = b"Bearer ";
