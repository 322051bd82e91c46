//! Sockets, and the certificates of those who connect to them.
mod current_tls;
mod loaded_tls;
mod pinned_listener;
#[cfg(unix)]
mod socket_file;

use crate::metrics::Metrics;
use crate::{AdminConfig, ListenConfig};
pub(crate) use current_tls::{Admission, CurrentTls};
use keybound_resource::source::{Peer, PeerAddress, TrustedPeers};
pub(crate) use loaded_tls::LoadedTls;
use pinned_listener::PinnedListener;
#[cfg(unix)]
use socket_file::SocketFile;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// A socket that accepts connections.
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(SocketFile),
    Tls(PinnedListener),
}

/// A connection of a peer that may connect.
pub(crate) struct Accepted {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) peer: Peer,
    pub(crate) admission: Admission,
}

/// The bytes of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener {
    /// The socket for proxies, and which of them are trusted: all who can connect.
    pub(crate) async fn bind(
        config: &ListenConfig,
        tls: Option<&CurrentTls>,
        metrics: &Arc<Metrics>,
        handshakes: usize,
    ) -> io::Result<(Self, TrustedPeers)> {
        let Some(tls) = tls else {
            let mode = config.mode.unwrap_or(DEFAULT_MODE);
            let listener = bind(config.unix.as_deref(), config.tcp, mode).await?;
            return Ok((listener, TrustedPeers::local()));
        };
        let address = config.tcp.ok_or(io::ErrorKind::InvalidInput)?;
        let metrics = Arc::clone(metrics);
        let listener = PinnedListener::bind(address, tls.clone(), metrics, handshakes).await?;
        Ok((Self::Tls(listener), tls.trusted()))
    }

    /// The sockets for operators.
    pub(crate) async fn bind_admin(config: &AdminConfig) -> io::Result<Vec<Self>> {
        let mut listeners = Vec::new();
        if config.unix.is_some() {
            listeners.push(bind(config.unix.as_deref(), None, DEFAULT_MODE).await?);
        }
        if config.tcp.is_some() {
            listeners.push(bind(None, config.tcp, DEFAULT_MODE).await?);
        }
        Ok(listeners)
    }

    /// The address, if it is one of TCP.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
            Self::Tls(listener) => listener.address(),
        }
    }

    /// Whether it is a Unix socket.
    pub(crate) fn is_unix_socket(&self) -> bool {
        match self {
            #[cfg(unix)]
            Self::Unix(_) => true,
            Self::Tcp(_) | Self::Tls(_) => false,
        }
    }

    /// The next connection, of a peer that may connect.
    pub(crate) async fn accept(&mut self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // It fails on a connection that has ended, which is found when it is read.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::unlimited(stream, PeerAddress::Tcp(address)))
            }
            #[cfg(unix)]
            Self::Unix(file) => {
                let stream = file.accept().await?;
                Ok(Accepted::unlimited(stream, PeerAddress::UnixSocket))
            }
            Self::Tls(listener) => {
                let (stream, admission) = listener.accept().await;
                Ok(Accepted {
                    peer: stream.peer().clone(),
                    stream: Box::new(stream),
                    admission,
                })
            }
        }
    }
}

impl Accepted {
    fn unlimited(stream: impl Stream + 'static, address: PeerAddress) -> Self {
        Self {
            stream: Box::new(stream),
            peer: Peer::new(address),
            admission: Admission::Unlimited,
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

async fn bind(unix: Option<&Path>, tcp: Option<SocketAddr>, mode: u32) -> io::Result<Listener> {
    match (unix, tcp) {
        #[cfg(unix)]
        (Some(path), None) => SocketFile::bind(path, mode)
            .await
            .map(Listener::Unix)
            .map_err(named(&path.display())),
        (None, Some(address)) => {
            let listener = TcpListener::bind(address).await;
            listener.map(Listener::Tcp).map_err(named(&address))
        }
        // The configuration was checked.
        _ => {
            let _ = mode;
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

/// Adds to an error what failed.
fn named<E: fmt::Display>(what: &dyn fmt::Display) -> impl Fn(E) -> io::Error {
    let what = what.to_string();
    move |error| io::Error::other(format!("{what}: {error}"))
}

/// The owner and the group can connect.
const DEFAULT_MODE: u32 = 0o660;
