use super::{Session, classify};
use crate::{
    ClientIdentity, TlsEngine, TlsVersions, TransportError, TransportErrorKind, TrustAnchors,
};
use ::schannel::RawPointer as _;
use ::schannel::cert_context::CertContext;
use ::schannel::schannel_cred::{Direction, Protocol, SchannelCred};
use keybound_core::Sha1Thumbprint;
use keybound_core::tls::{ConnectionState, Host};
use keybound_keys::windows::NativeCertificate;
use std::io;
use std::sync::Arc;

/// The credentials of one client. Each connection acquires its own handle: Windows caches sessions by handle, and none is to be
/// resumed.
pub(crate) struct Credentials {
    certificate: Option<NativeCertificate>,
    /// The only certificate that servers may present.
    pinned: Option<Sha1Thumbprint>,
    has_tls_13: bool,
}

impl Credentials {
    /// The credentials, or why SChannel does not support the settings. The inner error is
    /// [`Key`](TransportErrorKind::Key) if Windows cannot open the key.
    pub(crate) fn new(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Result<Self, TransportError>, &'static str> {
        if trust.is_extended() {
            return Err(
                "SChannel trusts the CA certificates of the Windows certificate stores: add the certificate there \
                 (certutil -addstore Root FILE), or use OpenSSL",
            );
        }
        let certificate = identity
            .map(|identity| {
                identity
                    .key()
                    .native_certificate(identity.certificate())
                    .ok_or(
                        "SChannel presents certificates whose keys are in Windows, and this key is not: use a CNG key, or \
                         OpenSSL",
                    )
            })
            .transpose()?;
        Ok(match certificate.transpose() {
            Ok(certificate) => Ok(Self {
                certificate,
                pinned: None,
                has_tls_13: has_tls_13(),
            }),
            Err(error) => Err(TransportError::new(
                TransportErrorKind::Key,
                "windows cannot open the binding's key for tls",
            )
            .with_source(error)),
        })
    }

    /// Credentials without an identity for a server with this one certificate.
    pub(crate) fn pinned(certificate: Sha1Thumbprint) -> Self {
        Self {
            certificate: None,
            pinned: Some(certificate),
            has_tls_13: has_tls_13(),
        }
    }

    /// A TLS client for one connection to the host.
    pub(crate) fn session(
        &self,
        host: &Host,
        versions: TlsVersions,
    ) -> Result<Session, TransportError> {
        let credential = self
            .acquire(versions)
            .map_err(|error| self.acquire_failed(host, error))?;
        Ok(Session {
            credential,
            host: host.clone(),
            state: Arc::new(match self.pinned {
                None => ConnectionState::new(TlsEngine::SChannel, self.certificate.is_some()),
                Some(certificate) => ConnectionState::pinned(TlsEngine::SChannel, certificate),
            }),
        })
    }

    /// The error if no handle is acquired. An unspecific status counts as an error of the key, if there is one: besides the
    /// key, a credential depends on the TLS versions only.
    fn acquire_failed(&self, host: &Host, error: Option<io::Error>) -> TransportError {
        let (kind, message) = match &error {
            None => (
                TransportErrorKind::HostUnsupported,
                "this version of windows does not support the tls version",
            ),
            Some(error) if classify::is_version_unsupported(error) => (
                TransportErrorKind::HostUnsupported,
                "windows does not allow the tls version",
            ),
            Some(error) if self.certificate.is_some() || classify::is_key_error(error) => (
                TransportErrorKind::Key,
                "SChannel does not accept the binding's key",
            ),
            Some(_) => (
                TransportErrorKind::Tls,
                "SChannel cannot create a connection",
            ),
        };
        let failed = TransportError::new(kind, format!("{message} for {host}"));
        match error {
            Some(error) => failed.with_source(error),
            None => failed,
        }
    }

    /// Acquires a handle. The error is `None` if Windows supports none of the versions.
    fn acquire(&self, versions: TlsVersions) -> Result<SchannelCred, Option<io::Error>> {
        let mut protocols = vec![];
        if versions.includes_12() {
            protocols.push(Protocol::Tls12);
        }
        if versions.includes_13() && self.has_tls_13 {
            protocols.push(Protocol::Tls13);
        }
        if protocols.is_empty() {
            return Err(None);
        }
        let mut builder = SchannelCred::builder();
        builder.enabled_protocols(&protocols);
        if let Some(certificate) = &self.certificate {
            builder.cert(context(certificate.clone()));
        }
        builder.acquire(Direction::Outbound).map_err(Some)
    }
}

/// The certificate in the type of the `schannel` crate.
#[allow(unsafe_code, reason = "passes the ownership of a context")]
fn context(certificate: NativeCertificate) -> CertContext {
    // SAFETY: the pointer is a certificate context, whose reference the other value owns and frees.
    unsafe { CertContext::from_ptr(certificate.into_ptr().cast_mut()) }
}

/// SChannel supports TLS 1.3 since Windows Server 2022 and Windows 11. Older versions have a setting for it that breaks
/// connections.
fn has_tls_13() -> bool {
    windows_version::OsVersion::current().build >= 20348
}
