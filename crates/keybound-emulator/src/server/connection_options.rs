use super::alert_replacement::{AlertReplacement, check_certificates};
use super::certificate_alert::CertificateCheck;
use crate::pki::ServerIdentity;
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslVerifyMode};
use std::time::Duration;

/// The options of one new connection: its faults.
#[derive(Default)]
pub(crate) struct ConnectionOptions {
    /// Delays the handshake.
    pub(crate) delay: Duration,
    /// Replaces the handshake and everything after it.
    pub(crate) problem: Option<Refusal>,
    /// Checks the certificates that the client presents, in the first handshake or later.
    pub(crate) check: Option<CertificateCheck>,
    /// The certificate to present instead of the listener's own.
    pub(crate) identity: Option<ServerIdentity>,
    /// The certificate is not requested in the first handshake.
    pub(crate) no_certificate_request: bool,
}

/// How a connection is refused without a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Hang,
    Close,
    Reset,
}

impl ConnectionOptions {
    pub(super) fn apply(
        self,
        ssl: &mut Ssl,
        replacement: &AlertReplacement,
    ) -> Result<(), ErrorStack> {
        if self.no_certificate_request {
            ssl.set_verify(SslVerifyMode::NONE);
        }
        if let Some(identity) = self.identity {
            ssl.set_certificate(&identity.certificate)?;
            ssl.set_private_key(&identity.key)?;
        }
        if let Some(check) = self.check {
            check_certificates(ssl, replacement, check);
        }
        Ok(())
    }
}
