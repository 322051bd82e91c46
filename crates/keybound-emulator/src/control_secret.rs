use crate::random_secret::RandomSecret;
use http::HeaderValue;
use openssl::error::ErrorStack;

/// The secret of the control endpoint, new at each start.
#[derive(Debug)]
pub(crate) struct ControlSecret(RandomSecret);

impl ControlSecret {
    /// Creates a secret.
    ///
    /// # Errors
    /// If the host returns no random bytes.
    pub fn random() -> Result<Self, ErrorStack> {
        RandomSecret::new().map(Self)
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether an `Authorization` header contains the secret; compared in constant time.
    pub fn matches(&self, header: Option<&HeaderValue>) -> bool {
        let parts = header.and_then(|value| value.as_bytes().split_at_checked(BEARER.len()));
        parts.is_some_and(|(scheme, credentials)| {
            // RFC 9110 section 11.1: the scheme is case-insensitive, and one or more spaces follow.
            let credentials = credentials.trim_ascii_start();
            scheme.eq_ignore_ascii_case(BEARER) && self.0.equals(credentials)
        })
    }
}

const BEARER: &[u8] = b"Bearer ";
