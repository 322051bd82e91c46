//! Which TLS library a client uses, and what the two have in common.
#[cfg(any(windows, test))]
mod names;
#[cfg(any(not(windows), feature = "openssl-engine"))]
pub(crate) mod openssl;
#[cfg(any(windows, test))]
mod queued;
#[cfg(windows)]
mod schannel;

#[cfg(not(all(windows, feature = "openssl-engine")))]
use crate::TransportErrorKind;
use crate::connection::Connection;
use crate::driver::Place;
use crate::failure::Peer;
use crate::session::SessionNotes;
use crate::target::Host;
use crate::{ClientIdentity, TlsVersions, TransportError, TrustAnchors};
use keybound_keys::LastKeyError;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The TLS library under a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsEngine {
    /// The system's: SChannel on Windows, OpenSSL elsewhere. Features of this crate do not change it.
    #[default]
    Automatic,
    /// The system's; on Windows OpenSSL instead for what SChannel cannot do: present a certificate whose key is not in Windows,
    /// or trust more than Windows trusts. For that it needs what [`OpenSsl`](Self::OpenSsl) needs.
    SystemOrOpenSsl,
    /// OpenSSL 3. On Windows it is there with one of the features `openssl-vendored`, `openssl` and `rustls`.
    OpenSsl,
    /// Windows' own. It trusts what the certificate stores of Windows trust, and presents certificates whose keys
    /// are in Windows (`BindingKey::native_certificate`).
    SChannel,
}

impl fmt::Display for TlsEngine {
    /// `OpenSSL`, `SChannel`, `automatic`, `SChannel or OpenSSL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Automatic => "automatic",
            Self::SystemOrOpenSsl => "SChannel or OpenSSL",
            Self::OpenSsl => "OpenSSL",
            Self::SChannel => "SChannel",
        })
    }
}

/// The TLS of one client.
pub(crate) enum Engine {
    #[cfg(any(not(windows), feature = "openssl-engine"))]
    OpenSsl(openssl::TlsContexts),
    #[cfg(windows)]
    SChannel(schannel::Credentials),
}

impl Engine {
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) where the host does not allow it, or the library is not
    /// there or cannot do what is asked; [`Key`](TransportErrorKind::Key) where Windows does not take the key.
    pub(crate) fn new(
        choice: TlsEngine,
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        match choice {
            TlsEngine::Automatic => Self::system(identity, trust),
            TlsEngine::SystemOrOpenSsl => Self::system_or_openssl(identity, trust),
            TlsEngine::OpenSsl => Self::openssl(identity, trust),
            TlsEngine::SChannel => Self::schannel(identity, trust),
        }
    }

    #[cfg(not(windows))]
    fn system(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        Self::openssl(identity, trust)
    }

    #[cfg(windows)]
    fn system(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        Self::schannel(identity, trust)
    }

    #[cfg(not(windows))]
    fn system_or_openssl(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        Self::openssl(identity, trust)
    }

    #[cfg(windows)]
    fn system_or_openssl(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        match schannel::Credentials::new(identity, trust) {
            Ok(credentials) => Ok(Self::SChannel(credentials)),
            Err(schannel::Unfit::Failed(error)) => Err(error),
            Err(schannel::Unfit::Unable(why)) => {
                tracing::debug!("using OpenSSL: {why}");
                Self::openssl(identity, trust)
            }
        }
    }

    #[cfg(any(not(windows), feature = "openssl-engine"))]
    fn openssl(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        openssl::TlsContexts::new(identity, trust).map(Self::OpenSsl)
    }

    #[cfg(all(windows, not(feature = "openssl-engine")))]
    fn openssl(_: Option<&ClientIdentity>, _: &TrustAnchors) -> Result<Self, TransportError> {
        Err(TransportError::new(
            TransportErrorKind::HostUnsupported,
            "OpenSSL is not built in: build with the feature openssl-vendored",
        ))
    }

    #[cfg(windows)]
    fn schannel(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        schannel::Credentials::new(identity, trust)
            .map(Self::SChannel)
            .map_err(schannel::Unfit::into_error)
    }

    #[cfg(not(windows))]
    fn schannel(_: Option<&ClientIdentity>, _: &TrustAnchors) -> Result<Self, TransportError> {
        Err(TransportError::new(
            TransportErrorKind::HostUnsupported,
            "SChannel is a part of Windows",
        ))
    }

    /// Whether its work may hold a thread up, whatever the key: SChannel asks other processes of the system.
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            #[cfg(any(not(windows), feature = "openssl-engine"))]
            Self::OpenSsl(_) => false,
            #[cfg(windows)]
            Self::SChannel(_) => true,
        }
    }

    pub(crate) fn last_key_error(&self) -> Option<&Arc<LastKeyError>> {
        match self {
            #[cfg(any(not(windows), feature = "openssl-engine"))]
            Self::OpenSsl(contexts) => contexts.last_key_error(),
            #[cfg(windows)]
            Self::SChannel(_) => None,
        }
    }

    /// A TLS client for one connection to the host.
    pub(crate) fn session(
        &self,
        host: &Host,
        versions: TlsVersions,
    ) -> Result<Session, TransportError> {
        match self {
            #[cfg(any(not(windows), feature = "openssl-engine"))]
            Self::OpenSsl(contexts) => contexts.session(host, versions).map(Session::OpenSsl),
            #[cfg(windows)]
            Self::SChannel(credentials) => {
                credentials.session(host, versions).map(Session::SChannel)
            }
        }
    }
}

/// A TLS client for one connection.
pub(crate) enum Session {
    #[cfg(any(not(windows), feature = "openssl-engine"))]
    OpenSsl(openssl::Session),
    #[cfg(windows)]
    SChannel(schannel::Session),
}

impl Session {
    /// The notes that are taken on the connection.
    pub(crate) fn notes(&self) -> &Arc<SessionNotes> {
        match self {
            #[cfg(any(not(windows), feature = "openssl-engine"))]
            Self::OpenSsl(session) => &session.notes,
            #[cfg(windows)]
            Self::SChannel(session) => session.notes(),
        }
    }

    /// Does the first handshake and starts HTTP.
    pub(crate) async fn connect(
        self,
        tcp: TcpStream,
        peer: Peer,
        place: Place,
    ) -> Result<Connection, TransportError> {
        match self {
            #[cfg(any(not(windows), feature = "openssl-engine"))]
            Self::OpenSsl(session) => {
                let stream = session.connect(tcp, &peer).await?;
                peer.connected()?;
                Connection::start(stream, peer, place).await
            }
            #[cfg(windows)]
            Self::SChannel(session) => {
                let stream = session.connect(tcp, &peer).await?;
                peer.connected()?;
                Connection::start(stream, peer, place).await
            }
        }
    }
}

/// What an error of a TLS library tells.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TlsFindings {
    /// The connection is gone.
    pub(crate) closed: bool,
    /// The key did not sign.
    pub(crate) key: bool,
    /// The peer sent an alert that servers answer a certificate with.
    pub(crate) certificate_alert: bool,
    /// The host allows none of the TLS versions asked for.
    pub(crate) no_protocol: bool,
    /// The library failed in itself. Where it was about to present the certificate, that is what a key that does not sign
    /// looks like.
    pub(crate) internal: bool,
    /// A record, or our signature, did not hold. Where the certificate was just presented, it is the signature.
    pub(crate) undeciphered: bool,
}

impl TlsFindings {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.closed |= other.closed;
        self.key |= other.key;
        self.certificate_alert |= other.certificate_alert;
        self.no_protocol |= other.no_protocol;
        self.internal |= other.internal;
        self.undeciphered |= other.undeciphered;
    }
}

/// What this one error tells; `None` where it is not of a TLS library.
pub(crate) fn findings_of(error: &(dyn Error + 'static)) -> Option<TlsFindings> {
    #[cfg(any(not(windows), feature = "openssl-engine"))]
    if let Some(error) = error.downcast_ref::<::openssl::ssl::Error>() {
        return Some(openssl::findings_of(error));
    }
    #[cfg(windows)]
    if let Some(findings) = schannel::findings_of(error) {
        return Some(findings);
    }
    None
}

/// Whether servers answer a certificate that they do not take with an alert of this description (RFC 8446, 6.2).
pub(crate) fn answers_a_certificate(alert: u8) -> bool {
    // handshake_failure, no_certificate (SSL 3), bad, unsupported, revoked, expired and unknown certificate, unknown_ca,
    // access_denied, decrypt_error (our signature did not hold), certificate_required.
    matches!(alert, 40..=46 | 48 | 49 | 51 | 116)
}
