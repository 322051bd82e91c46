use super::{Session, classify};
use crate::{
    ClientIdentity, TlsEngine, TlsVersions, TransportError, TransportErrorKind, TrustAnchors,
};
use ::schannel::RawPointer as _;
use ::schannel::cert_context::CertContext;
use ::schannel::schannel_cred::{Direction, Protocol, SchannelCred};
use keybound_core::tls::{ConnectionState, Host};
use keybound_keys::windows::NativeCertificate;
use std::io;
use std::sync::Arc;

/// What one client presents, and with which versions. Each connection has a handle of its own: Windows keeps sessions by
/// handle, and none is to be taken up again.
pub(crate) struct Credentials {
    certificate: Option<NativeCertificate>,
    has_tls_13: bool,
}

/// Why SChannel is not for a client.
pub(crate) enum Unfit {
    /// It cannot do what is asked.
    Unable(&'static str),
    /// It should.
    Failed(TransportError),
}

impl Unfit {
    pub(crate) fn into_error(self) -> TransportError {
        match self {
            Self::Unable(what) => TransportError::new(TransportErrorKind::HostUnsupported, what),
            Self::Failed(error) => error,
        }
    }
}

impl Credentials {
    pub(crate) fn new(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, Unfit> {
        if trust.is_extended() {
            return Err(Unfit::Unable(
                "SChannel trusts what the certificate stores of Windows trust: add the certificate there \
                 (certutil -addstore Root FILE), or use OpenSSL",
            ));
        }
        let certificate = match identity {
            Some(identity) => {
                let native = identity.key().native_certificate(identity.certificate());
                let native = native.ok_or(Unfit::Unable(
                    "SChannel presents certificates whose keys are in Windows, and this key is not: use a key of CNG, or \
                     OpenSSL",
                ))?;
                Some(native.map_err(|error| {
                    let kind = TransportErrorKind::Key;
                    Unfit::Failed(
                        TransportError::new(
                            kind,
                            "windows does not open the binding's key for tls",
                        )
                        .with_source(error),
                    )
                })?)
            }
            None => None,
        };
        Ok(Self {
            certificate,
            has_tls_13: has_tls_13(),
        })
    }

    /// A TLS client for one connection to the host.
    pub(crate) fn session(
        &self,
        host: &Host,
        versions: TlsVersions,
    ) -> Result<Session, TransportError> {
        let credential = self
            .acquire(versions)
            .map_err(|error| self.failed(host, error))?;
        Ok(Session {
            credential,
            host: host.clone(),
            state: Arc::new(ConnectionState::new(
                TlsEngine::SChannel,
                self.certificate.is_some(),
            )),
        })
    }

    /// Why there is no handle. What Windows does not say more of is the key's fault where there is one: nothing else of a
    /// credential hangs on more than the TLS versions.
    fn failed(&self, host: &Host, error: Option<io::Error>) -> TransportError {
        let (kind, what) = match &error {
            None => (
                TransportErrorKind::HostUnsupported,
                "this windows does not have the tls version",
            ),
            Some(error) if classify::is_of_version(error) => (
                TransportErrorKind::HostUnsupported,
                "windows does not allow the tls version",
            ),
            Some(error) if self.certificate.is_some() || classify::is_of_key(error) => (
                TransportErrorKind::Key,
                "SChannel does not take the binding's key",
            ),
            Some(_) => (
                TransportErrorKind::Tls,
                "SChannel does not begin a connection",
            ),
        };
        let failed = TransportError::new(kind, format!("{what} for {host}"));
        match error {
            Some(error) => failed.with_source(error),
            None => failed,
        }
    }

    /// The error is `None` where Windows has none of the versions.
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
            builder.cert(context(certificate)?);
        }
        builder.acquire(Direction::Outbound).map_err(Some)
    }
}

/// The certificate in the type of the `schannel` crate, with a reference of its own.
#[allow(unsafe_code, reason = "hands a reference to a context over")]
fn context(certificate: &NativeCertificate) -> Result<CertContext, io::Error> {
    let own = certificate
        .share()
        .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
    // SAFETY: it is a certificate context, and the reference is given away: the other value frees it.
    Ok(unsafe { CertContext::from_ptr(own.into_ptr().cast_mut()) })
}

/// TLS 1.3 is in SChannel since Windows Server 2022 (and Windows 11). Older ones have a switch for it that breaks
/// connections.
fn has_tls_13() -> bool {
    windows_version::OsVersion::current().build >= 20348
}
