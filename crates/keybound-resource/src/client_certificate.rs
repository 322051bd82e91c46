use crate::Reason;
use crate::key_strength::has_weak_key;
use keybound_core::{Certificate, X5tS256};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The certificate that the client presented in the TLS handshake of the request's connection. Cloning is cheap; it is parsed once for a
/// connection.
///
/// TLS has proved that the client has its key. Its issuer is not verified: the token names exactly this certificate, and Entra
/// verified it when it issued the token (RFC 8705 section 6.2).
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate(Arc<Parts>);

struct Parts {
    certificate: Certificate,
    not_before: i64,
    not_after: i64,
    has_weak_key: bool,
}

impl ClientCertificate {
    /// Parses a certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] if it is not one X.509 certificate, is longer than 16 KiB, or has an unknown type of key.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        let has_weak_key =
            has_weak_key(certificate.public_key_der()).ok_or(CertificateError::Malformed)?;
        Ok(Self(Arc::new(Parts {
            not_before: seconds(certificate.not_before()),
            not_after: seconds(certificate.not_after()),
            has_weak_key,
            certificate,
        })))
    }

    /// The thumbprint `x5t#S256`.
    pub fn thumbprint(&self) -> &X5tS256 {
        &self.0.certificate.thumbprints().x5t_s256
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// Checks what does not depend on the token: the validity and the strength of the key.
    pub(crate) fn check(&self, now: i64, skew: i64) -> Result<(), Reason> {
        let Parts {
            not_before,
            not_after,
            has_weak_key,
            ..
        } = *self.0;
        if now > not_after {
            return Err(Reason::CertificateExpired);
        }
        if now < not_before.saturating_sub(skew) {
            return Err(Reason::CertificateNotYetValid);
        }
        if has_weak_key {
            return Err(Reason::CertificateKeyWeak);
        }
        Ok(())
    }
}

impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        self.certificate.der() == other.certificate.der()
    }
}

impl Eq for Parts {}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate")
            .field(self.thumbprint())
            .finish()
    }
}

/// Why there is no certificate although the client or a proxy sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is not one X.509 certificate in the expected encoding.
    #[error("the client certificate is malformed")]
    Malformed,
    /// A proxy's header occurs twice.
    #[error("the request has several client certificates")]
    Repeated,
}

/// What the connection of a request has as client certificate.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionCertificate<'a>(Result<Option<&'a ClientCertificate>, CertificateError>);

impl<'a> ConnectionCertificate<'a> {
    /// The client presented no certificate.
    pub const NONE: ConnectionCertificate<'static> = ConnectionCertificate(Ok(None));

    pub(crate) fn required(self) -> Result<&'a ClientCertificate, Reason> {
        match self.0 {
            Ok(Some(certificate)) => Ok(certificate),
            Ok(None) => Err(Reason::CertificateMissing),
            Err(CertificateError::Malformed) => Err(Reason::CertificateMalformed),
            Err(CertificateError::Repeated) => Err(Reason::CertificateRepeated),
        }
    }
}

impl<'a> From<&'a ClientCertificate> for ConnectionCertificate<'a> {
    fn from(certificate: &'a ClientCertificate) -> Self {
        Self(Ok(Some(certificate)))
    }
}

impl<'a> From<Option<&'a ClientCertificate>> for ConnectionCertificate<'a> {
    fn from(certificate: Option<&'a ClientCertificate>) -> Self {
        Self(Ok(certificate))
    }
}

impl<'a> From<&'a Result<Option<ClientCertificate>, CertificateError>>
    for ConnectionCertificate<'a>
{
    fn from(certificate: &'a Result<Option<ClientCertificate>, CertificateError>) -> Self {
        Self(match certificate {
            Ok(certificate) => Ok(certificate.as_ref()),
            Err(error) => Err(*error),
        })
    }
}

fn seconds(time: SystemTime) -> i64 {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()),
        Err(before) => i64::try_from(before.duration().as_secs()).map(|seconds| -seconds),
    };
    // Certificates end in the year 9999 at the latest.
    seconds.unwrap_or(i64::MAX)
}
