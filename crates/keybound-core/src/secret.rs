use std::fmt;
use zeroize::Zeroizing;

/// Text that must not be seen: a token or an attestation JWT. `Debug` hides it and its memory is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Take care where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString(…)")
    }
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self::new(text)
    }
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
}
