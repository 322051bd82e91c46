use keybound_core::{Error, MAX_JWT};
use zeroize::Zeroizing;

/// A text for the library, zeroed on drop.
#[derive(Clone)]
pub(super) struct SecretCString(
    #[cfg_attr(
        not(any(windows, test)),
        expect(dead_code, reason = "only the library for Windows reads it")
    )]
    Zeroizing<Vec<u8>>,
);

impl SecretCString {
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) if it is longer than [`MAX_JWT`] or contains NUL.
    pub(super) fn new(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_JWT || text.contains('\0') {
            return Err(Error::invalid_request(
                "a text for the attestation library is too long or contains NUL",
            ));
        }
        Ok(Self::terminated(text))
    }

    /// Adds the NUL to a text that contains none.
    pub(super) fn terminated(text: &str) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        Self(bytes)
    }

    /// The bytes with NUL.
    #[cfg(any(windows, test))]
    pub(super) fn as_bytes_with_nul(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_nul_and_long_texts() {
        assert!(SecretCString::new("a\0b").is_err());
        assert!(SecretCString::new(&"a".repeat(MAX_JWT + 1)).is_err());
        assert_eq!(
            SecretCString::new("ä").unwrap().as_bytes_with_nul(),
            "ä\0".as_bytes()
        );
    }
}
