use serde::{Deserialize, Deserializer};
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A secret text: an access token or an attestation token. `Debug` hides it, its memory is zeroed on drop, and comparison
/// takes constant time (except for the length).
#[derive(Clone)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes ownership of the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString(…)")
    }
}

impl PartialEq for SecretString {
    fn eq(&self, other: &Self) -> bool {
        self.expose()
            .as_bytes()
            .ct_eq(other.expose().as_bytes())
            .into()
    }
}

impl Eq for SecretString {}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// For members of responses: zeroed also if another member is invalid.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_secret_in_debug() {
        let secret = SecretString::new("swordfish".into());
        assert!(!format!("{secret:?}").contains("swordfish"));
        assert!(!format!("{:#?}", Some(secret)).contains("swordfish"));
    }

    #[test]
    fn compares_exactly() {
        let secret = |text: &str| SecretString::new(text.into());
        assert_eq!(secret("swordfish"), secret("swordfish"));
        for other in ["", "Swordfish", "swordfis", "swordfish "] {
            assert_ne!(secret("swordfish"), secret(other));
        }
    }
}
