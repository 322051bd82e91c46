use keybound_core::{Error, MAX_JWT};
use zeroize::Zeroizing;

/// A text of the caller that goes to the library; wiped when dropped.
#[derive(Clone)]
pub(super) struct Text(
    #[cfg_attr(
        not(any(windows, test)),
        expect(dead_code, reason = "only Windows has the library that reads it")
    )]
    Zeroizing<Vec<u8>>,
);

impl Text {
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) where it is longer than a JWT may be, or holds NUL.
    pub(super) fn new(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_JWT || text.contains('\0') {
            return Err(Error::invalid_request(
                "a text for the attestation library is too long or holds NUL",
            ));
        }
        Ok(Self::terminated(text))
    }

    #[cfg(any(windows, test))]
    pub(super) fn constant(text: &'static str) -> Self {
        Self::terminated(text)
    }

    fn terminated(text: &str) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        Self(bytes)
    }

    /// With its NUL.
    #[cfg(any(windows, test))]
    pub(super) fn as_bytes_with_nul(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_nul_or_without_measure_are_refused() {
        assert!(Text::new("a\0b").is_err());
        assert!(Text::new(&"a".repeat(MAX_JWT + 1)).is_err());
        assert_eq!(
            Text::new("ä").unwrap().as_bytes_with_nul(),
            "ä\0".as_bytes()
        );
    }
}
