//! The TLS libraries of a client, OpenSSL and SChannel, behind one interface.
#[cfg(any(windows, test))]
mod names;
// The only condition on OpenSSL: both files have one interface.
#[cfg_attr(
    all(windows, not(feature = "openssl-engine")),
    path = "engine/no_openssl.rs"
)]
pub(crate) mod openssl;
#[cfg(any(windows, test))]
mod queued;
#[cfg(windows)]
mod schannel;

#[cfg(not(windows))]
use crate::TransportErrorKind;
use crate::connection::Connection;
use crate::driver::Place;
use crate::failure::Peer;
use crate::{ClientIdentity, TlsEngine, TlsVersions, TransportError, TrustAnchors};
use keybound_core::tls::{ConnectionState, Host, TlsErrorClass};
use keybound_keys::LastKeyError;
use std::error::Error;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The TLS of one client.
pub(crate) enum Engine {
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
            TlsEngine::SystemOrOpenSsl => Self::system_or_openssl(identity, trust),
            TlsEngine::OpenSsl => Self::openssl(identity, trust),
            TlsEngine::SChannel => Self::schannel(identity, trust),
            // `Automatic`: the enum is non-exhaustive, and of another crate.
            _ => Self::system(identity, trust),
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

    fn openssl(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        openssl::TlsContexts::new(identity, trust).map(Self::OpenSsl)
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

/// A TLS client for one connection.
pub(crate) enum Session {
    OpenSsl(openssl::Session),
    #[cfg(windows)]
    SChannel(schannel::Session),
}

impl Session {
    /// The state of the connection, which the engine updates.
    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        match self {
            Self::OpenSsl(session) => session.state(),
            #[cfg(windows)]
            Self::SChannel(session) => session.state(),
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
            Self::OpenSsl(session) => {
                let failed = |error| peer.handshake_failed(error);
                let stream = session.connect(tcp, failed).await?;
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

/// The class of this one error; `None` where it is not of a TLS library.
pub(crate) fn classify(error: &(dyn Error + 'static)) -> Option<TlsErrorClass> {
    #[cfg(windows)]
    if let Some(class) = schannel::classify(error) {
        return Some(class);
    }
    openssl::classify(error)
}
