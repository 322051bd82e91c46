use openssl::error::ErrorStack;
use openssl::memcmp;
use std::fmt;

/// 256 random bits in hexadecimal.
pub(crate) struct RandomSecret(String);

impl RandomSecret {
    /// Creates a secret.
    ///
    /// # Errors
    /// If the host returns no random bytes.
    pub fn new() -> Result<Self, ErrorStack> {
        let mut bytes = [0; 32];
        openssl::rand::rand_bytes(&mut bytes)?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time.
    pub fn equals(&self, other: &[u8]) -> bool {
        other.len() == self.0.len() && memcmp::eq(other, self.0.as_bytes())
    }
}

impl fmt::Debug for RandomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RandomSecret(…)")
    }
}
