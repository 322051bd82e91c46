use crate::{TransportError, TransportErrorKind};
#[cfg(any(not(windows), feature = "openssl-engine"))]
use openssl::x509::X509;
use std::fmt;
use std::sync::Arc;

/// Which certificate authorities are trusted: the system's, plus those that the caller names. The system's are those
/// of OpenSSL's built-in paths (on Windows the system's stores); no environment variable is read. More than the system's
/// takes OpenSSL: SChannel trusts what Windows trusts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TrustAnchors {
    /// DER.
    extra: Vec<Arc<[u8]>>,
    loopback: Vec<Arc<[u8]>>,
}

impl TrustAnchors {
    /// The system's trust store.
    pub fn system() -> Self {
        Self::default()
    }

    /// Adds the certificates of a PEM text, at least one.
    ///
    /// # Errors
    /// [`InvalidRequest`](TransportErrorKind::InvalidRequest) where it holds none or one is malformed;
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) on Windows without OpenSSL.
    pub fn with_pem(mut self, pem: &[u8]) -> Result<Self, TransportError> {
        self.extra.extend(certificates(pem)?);
        Ok(self)
    }

    /// Adds the certificates of a PEM text for loopback hosts only (`localhost`, `127.0.0.0/8`, `::1`).
    ///
    /// # Errors
    /// As [`with_pem`](Self::with_pem).
    pub fn with_loopback_pem(mut self, pem: &[u8]) -> Result<Self, TransportError> {
        self.loopback.extend(certificates(pem)?);
        Ok(self)
    }

    /// Whether anything was added to the system's.
    pub fn is_extended(&self) -> bool {
        !(self.extra.is_empty() && self.loopback.is_empty())
    }

    /// Without those that count for loopback hosts only.
    #[cfg(feature = "openssl")]
    pub(crate) fn for_any_host(&self) -> Self {
        Self {
            extra: self.extra.clone(),
            loopback: Vec::new(),
        }
    }

    /// Those that count for every host.
    #[cfg(any(not(windows), feature = "openssl-engine"))]
    pub(crate) fn for_all(&self) -> impl Iterator<Item = &[u8]> {
        self.extra.iter().map(AsRef::as_ref)
    }

    /// Those that count for loopback hosts besides.
    #[cfg(any(not(windows), feature = "openssl-engine"))]
    pub(crate) fn for_loopback(&self) -> impl Iterator<Item = &[u8]> {
        self.loopback.iter().map(AsRef::as_ref)
    }
}

impl fmt::Debug for TrustAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustAnchors")
            .field("extra", &self.extra.len())
            .field("loopback", &self.loopback.len())
            .finish()
    }
}

#[cfg(all(windows, not(feature = "openssl-engine")))]
fn certificates(_: &[u8]) -> Result<Vec<Arc<[u8]>>, TransportError> {
    Err(TransportError::new(
        TransportErrorKind::HostUnsupported,
        "windows trusts what its certificate stores hold: add the certificate there (certutil -addstore Root FILE), or \
         build with the feature openssl-vendored",
    ))
}

#[cfg(any(not(windows), feature = "openssl-engine"))]
fn certificates(pem: &[u8]) -> Result<Vec<Arc<[u8]>>, TransportError> {
    let wrong = |what| TransportError::new(TransportErrorKind::InvalidRequest, what);
    let malformed = || wrong("a certificate of the trust anchors is malformed");
    let found = X509::stack_from_pem(pem).map_err(|error| malformed().with_source(error))?;
    // OpenSSL stops in silence where text after the last good certificate only looks like another one.
    let announced = pem
        .windows(BEGIN.len())
        .filter(|window| *window == BEGIN)
        .count();
    if found.is_empty() {
        return Err(wrong("the trust anchors hold no certificate"));
    }
    if found.len() < announced {
        return Err(malformed());
    }
    found
        .iter()
        .map(|certificate| {
            certificate
                .to_der()
                .map(Arc::from)
                .map_err(|error| malformed().with_source(error))
        })
        .collect()
}

#[cfg(any(not(windows), feature = "openssl-engine"))]
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_without_a_certificate_or_with_a_broken_one_are_refused() {
        for pem in [
            &b""[..],
            b"garbage",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\nAAAA",
        ] {
            let error = TrustAnchors::system().with_pem(pem).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::InvalidRequest);
            assert!(TrustAnchors::system().with_loopback_pem(pem).is_err());
        }
        assert!(!TrustAnchors::system().is_extended());
    }
}
