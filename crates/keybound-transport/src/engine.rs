//! The TLS libraries, OpenSSL and SChannel, behind one interface.
#[cfg(any(windows, test))]
mod buffered;
// The only condition on OpenSSL: both files have the same interface.
#[cfg_attr(
    all(windows, not(feature = "openssl-engine")),
    path = "engine/no_openssl.rs"
)]
pub(crate) mod openssl;
#[cfg(windows)]
mod schannel;
#[cfg(any(windows, test))]
mod subject_alt_name;

use crate::connection::Connection;
use crate::peer::Peer;
use crate::runtime_thread::RuntimeHandle;
use crate::{
    ClientIdentity, TlsEngine, TlsVersions, TransportError, TransportErrorKind, TrustAnchors,
};
use keybound_core::Sha1Thumbprint;
use keybound_core::tls::{ConnectionState, Host, TlsErrorClass};
use keybound_keys::LastKeyError;
use std::error::Error;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The TLS library of one client, with the client's identity and trust.
pub(crate) enum Engine {
    OpenSsl(openssl::TlsContexts),
    #[cfg(windows)]
    SChannel(schannel::Credentials),
}

impl Engine {
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) if the host does not allow it, or the library is not
    /// available or does not support the settings; [`Key`](TransportErrorKind::Key) if Windows cannot open the key.
    pub(crate) fn new(
        choice: TlsEngine,
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        Self::choose(
            choice,
            || openssl::TlsContexts::new(identity, trust),
            #[cfg(windows)]
            || schannel::Credentials::new(identity, trust),
        )
    }

    /// An engine without an identity for a server with this one certificate.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) as for [`new`](Self::new).
    pub(crate) fn pinned(
        choice: TlsEngine,
        certificate: Sha1Thumbprint,
    ) -> Result<Self, TransportError> {
        Self::choose(
            choice,
            || openssl::TlsContexts::pinned(certificate),
            #[cfg(windows)]
            || Ok(Ok(schannel::Credentials::pinned(certificate))),
        )
    }

    /// Creates the chosen engine. SChannel may have a reason why it does not support the settings.
    fn choose(
        choice: TlsEngine,
        openssl: impl FnOnce() -> Result<openssl::TlsContexts, TransportError>,
        #[cfg(windows)] schannel: impl FnOnce() -> SChannelResult,
    ) -> Result<Self, TransportError> {
        let openssl = || openssl().map(Self::OpenSsl);
        #[cfg(windows)]
        let schannel = || schannel().map(|credentials| credentials.map(Self::SChannel));
        #[cfg(not(windows))]
        let schannel = || Err("SChannel is a part of Windows");
        match choice {
            TlsEngine::SystemOrOpenSsl if cfg!(windows) => schannel().unwrap_or_else(|reason| {
                tracing::debug!("using OpenSSL: {reason}");
                openssl()
            }),
            TlsEngine::Automatic if !cfg!(windows) => openssl(),
            TlsEngine::SChannel | TlsEngine::Automatic => schannel().unwrap_or_else(|reason| {
                let kind = TransportErrorKind::HostUnsupported;
                Err(TransportError::new(kind, reason))
            }),
            _ => openssl(),
        }
    }

    /// Whether it may block a thread, whatever the key: SChannel calls other processes of the system.
    pub(crate) fn may_block(&self) -> bool {
        match self {
            Self::OpenSsl(_) => false,
            #[cfg(windows)]
            Self::SChannel(_) => true,
        }
    }

    pub(crate) fn last_key_error(&self) -> Option<&Arc<LastKeyError>> {
        match self {
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
            Self::OpenSsl(contexts) => contexts.session(host, versions).map(Session::OpenSsl),
            #[cfg(windows)]
            Self::SChannel(credentials) => {
                credentials.session(host, versions).map(Session::SChannel)
            }
        }
    }
}

#[cfg(windows)]
type SChannelResult = Result<Result<schannel::Credentials, TransportError>, &'static str>;

/// A TLS client for one connection.
pub(crate) enum Session {
    OpenSsl(openssl::Session),
    #[cfg(windows)]
    SChannel(schannel::Session),
}

impl Session {
    /// The state of the connection, which the library updates.
    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        match self {
            Self::OpenSsl(session) => session.state(),
            #[cfg(windows)]
            Self::SChannel(session) => session.state(),
        }
    }

    /// Performs the first handshake and starts HTTP.
    pub(crate) async fn connect(
        self,
        tcp: TcpStream,
        peer: Peer,
        runtime: RuntimeHandle,
    ) -> Result<Box<Connection>, TransportError> {
        match self {
            Self::OpenSsl(session) => {
                let failed = |error| peer.handshake_failed(error);
                let stream = session.connect(tcp, failed).await?;
                peer.check_connected()?;
                Connection::start(stream, peer, runtime).await
            }
            #[cfg(windows)]
            Self::SChannel(session) => {
                let stream = session.connect(tcp, &peer).await?;
                peer.check_connected()?;
                Connection::start(stream, peer, runtime).await
            }
        }
    }
}

/// The class of this error, without its causes; `None` if it is not from a TLS library.
pub(crate) fn classify(error: &(dyn Error + 'static)) -> Option<TlsErrorClass> {
    #[cfg(windows)]
    if let Some(class) = schannel::classify(error) {
        return Some(class);
    }
    openssl::classify(error)
}

/// The text of this error, without its causes, if its own text is not in words.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> Option<String> {
    openssl::describe(error)
}
