use keybound_openssl::server::HandshakeRefusal;
use std::sync::Arc;

/// An alert that rejects a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CertificateAlert {
    pub(super) rejection: HandshakeRefusal,
    /// Replaces the alert of the verification error.
    pub(super) description: Option<u8>,
}

impl CertificateAlert {
    /// By its name in RFC 8446 section 6; `None` for alerts that do not reject a certificate.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let (rejection, description) = match name {
            "access_denied" => (HandshakeRefusal::Rejected, Some(49)),
            "certificate_required" => (HandshakeRefusal::Rejected, Some(116)),
            _ => (HandshakeRefusal::from_alert(name)?, None),
        };
        Some(Self {
            rejection,
            description,
        })
    }
}

/// Checks a client certificate (DER) and returns the alert that rejects it, if any.
pub(crate) type CertificateCheck = Arc<dyn Fn(&[u8]) -> Option<CertificateAlert> + Send + Sync>;
