//! Sockets, and the certificates of those who connect to them.
#[cfg(unix)]
mod socket_file;

use crate::apis::MAX_PEM;
use crate::{AdminConfig, ListenConfig, TlsConfig};
use keybound_core::X5tS256;
use keybound_resource::regular_file;
use keybound_resource::source::{Peer, PeerAddress, TrustedPeers};
use keybound_resource::tls::{MtlsListener, OpensslServer, request_any_client_certificate};
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
#[cfg(unix)]
use socket_file::SocketFile;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// A socket that accepts connections.
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(SocketFile),
    /// TLS, for the clients with these certificates.
    Tls(MtlsListener, Vec<X5tS256>),
}

/// A connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener {
    /// The socket for proxies, and which of them are trusted: all who can connect.
    pub(crate) async fn bind(config: &ListenConfig) -> io::Result<(Self, TrustedPeers)> {
        let Some(tls) = &config.tls else {
            let mode = config.mode.unwrap_or(DEFAULT_MODE);
            let listener = bind(config.unix.as_deref(), config.tcp, mode).await?;
            return Ok((listener, TrustedPeers::local()));
        };
        let address = config.tcp.ok_or(io::ErrorKind::InvalidInput)?;
        let pinned = pinned(tls)?;
        let acceptor = acceptor(tls)?;
        let tcp = TcpListener::bind(address).await.map_err(named(&address))?;
        let listener = MtlsListener::new(tcp, OpensslServer::new(acceptor.into_context()))?;
        let trusted = TrustedPeers::certificates(pinned.clone());
        Ok((Self::Tls(listener, pinned), trusted))
    }

    /// The socket for operators.
    pub(crate) async fn bind_admin(config: &AdminConfig) -> io::Result<Self> {
        bind(config.unix.as_deref(), config.tcp, DEFAULT_MODE).await
    }

    /// The address, if it is one of TCP.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
            Self::Tls(listener, _) => listener.local_addr().ok(),
        }
    }

    /// The next connection, of a peer that may connect.
    pub(crate) async fn accept(&mut self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Peer::new(PeerAddress::Tcp(address))))
            }
            #[cfg(unix)]
            Self::Unix(file) => {
                let stream = file.accept().await?;
                Ok((Box::new(stream), Peer::new(PeerAddress::UnixSocket)))
            }
            Self::Tls(listener, pinned) => loop {
                let stream = listener.accept().await;
                let peer = stream.peer().clone();
                let certificate = peer.certificate();
                if certificate.is_some_and(|presented| pinned.contains(presented.thumbprint())) {
                    return Ok((Box::new(stream), peer));
                }
                tracing::warn!(address = %stream.address(), "closed a connection without a pinned certificate");
            },
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

fn acceptor(tls: &TlsConfig) -> io::Result<SslAcceptor> {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    let chain = read(&tls.certificate)?;
    let chain = X509::stack_from_pem(&chain).map_err(named(&tls.certificate.display()))?;
    let mut chain = chain.into_iter();
    let leaf = chain
        .next()
        .ok_or_else(|| named(&tls.certificate.display())("it has no certificate in PEM"))?;
    acceptor.set_certificate(&leaf)?;
    for issuer in chain {
        acceptor.add_extra_chain_cert(issuer)?;
    }
    let key = PKey::private_key_from_pem(&read(&tls.key)?).map_err(named(&tls.key.display()))?;
    acceptor.set_private_key(&key)?;
    acceptor.check_private_key()?;
    request_any_client_certificate(&mut acceptor)?;
    Ok(acceptor.build())
}

/// The certificates of the proxies.
fn pinned(tls: &TlsConfig) -> io::Result<Vec<X5tS256>> {
    let mut pinned = Vec::new();
    for path in &tls.clients {
        let certificate = X509::from_pem(&read(path)?).map_err(named(&path.display()))?;
        pinned.push(X5tS256::of_der(&certificate.to_der()?));
    }
    Ok(pinned)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    regular_file::read(path, MAX_PEM).map_err(named(&path.display()))
}

/// Adds to an error what failed.
fn named<E: fmt::Display>(what: &dyn fmt::Display) -> impl Fn(E) -> io::Error {
    let what = what.to_string();
    move |error| io::Error::other(format!("{what}: {error}"))
}

/// The owner and the group can connect.
const DEFAULT_MODE: u32 = 0o660;
