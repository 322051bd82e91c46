use super::handshakes::Handshakes;
use crate::accept_errors::{AcceptErrors, AfterError};
use crate::source::{Peer, PeerAddress};
use crate::warning_limit::WarningLimit;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The server side of TLS, of one library.
///
/// ```
/// use keybound_resource::tls::{Encrypted, HandshakeFuture, TlsServer};
/// use std::sync::Arc;
/// use tokio::net::TcpStream;
///
/// /// For a test: no TLS, and no certificate.
/// struct Plain;
///
/// impl TlsServer for Plain {
///     fn handshake(self: Arc<Self>, stream: TcpStream) -> HandshakeFuture {
///         Box::pin(async { Ok((Box::new(stream) as Box<dyn Encrypted>, None)) })
///     }
/// }
/// ```
pub trait TlsServer: Send + Sync + 'static {
    /// Performs a handshake.
    fn handshake(self: Arc<Self>, stream: TcpStream) -> HandshakeFuture;
}

/// The result of [`TlsServer::handshake`]: the encrypted stream, and the certificate that the client presented, in DER.
pub type HandshakeFuture =
    Pin<Box<dyn Future<Output = io::Result<(Box<dyn Encrypted>, Option<Vec<u8>>)>> + Send>>;

/// An encrypted stream.
pub trait Encrypted: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Encrypted for T {}

/// Accepts TLS connections. Handshakes run concurrently in tasks, at most 1024 at a time, and fail after ten seconds. For a further one,
/// the oldest one of the address with the most is closed, so that silent clients do not delay others. If the process can open no more files, one
/// that takes longer than a second is closed for the next connection. It stops when it is dropped.
pub struct MtlsListener {
    accepted: mpsc::Receiver<MtlsStream>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl MtlsListener {
    /// Starts to accept connections, on the current runtime of tokio.
    ///
    /// # Errors
    /// If the listener has no address.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(listener: TcpListener, server: impl TlsServer) -> io::Result<Self> {
        Self::with_max_handshakes(listener, server, MAX_HANDSHAKES)
    }

    /// Like [`new`](Self::new), with another maximum of concurrent handshakes: at least one.
    ///
    /// # Errors
    /// If the listener has no address.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn with_max_handshakes(
        listener: TcpListener,
        server: impl TlsServer,
        max: usize,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel(MAX_WAITING);
        let handshakes = Handshakes::new(max.max(1));
        let task = tokio::spawn(accept_all(listener, Arc::new(server), handshakes, sender));
        Ok(Self {
            accepted,
            address,
            task,
        })
    }

    /// The next connection whose handshake succeeded.
    pub async fn accept(&mut self) -> MtlsStream {
        match self.accepted.recv().await {
            Some(stream) => stream,
            // The task ends only with its runtime.
            None => std::future::pending().await,
        }
    }

    /// The address of the listener.
    ///
    /// # Errors
    /// None; the signature is that of the listeners of tokio and axum.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for MtlsListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for MtlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MtlsListener")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A TLS connection with the peer's certificate.
pub struct MtlsStream {
    stream: Box<dyn Encrypted>,
    address: SocketAddr,
    peer: Peer,
}

impl MtlsStream {
    /// The other end, to be put into the extensions of each request.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The address of the other end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl AsyncRead for MtlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for MtlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl fmt::Debug for MtlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MtlsStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

async fn accept_all(
    listener: TcpListener,
    server: Arc<dyn TlsServer>,
    handshakes: Handshakes,
    accepted: mpsc::Sender<MtlsStream>,
) {
    let warnings = Arc::<WarningLimit>::default();
    let errors = AcceptErrors::default();
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                match errors.report(&error) {
                    AfterError::Accept => {}
                    AfterError::Close => handshakes.end_one(RETRY_AFTER_ERROR).await,
                    AfterError::Wait => sleep(RETRY_AFTER_ERROR).await,
                }
                continue;
            }
        };
        let (server, accepted) = (Arc::clone(&server), accepted.clone());
        let warnings = Arc::clone(&warnings);
        let running = handshakes.start(address.ip());
        tokio::spawn(async move {
            let handshake = timeout(HANDSHAKE_TIMEOUT, handshake(server, stream, address));
            tokio::select! {
                result = handshake => match result {
                    Ok(Ok(stream)) => {
                        if accepted.try_send(stream).is_err()
                            && let Some(connections) = warnings.count()
                        {
                            tracing::warn!(connections, "connections were closed: the server accepts none");
                        }
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake timed out"),
                },
                () = running.evicted() => tracing::debug!("a TLS handshake was closed for another one"),
            }
        });
    }
}

async fn handshake(
    server: Arc<dyn TlsServer>,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<MtlsStream> {
    stream.set_nodelay(true)?;
    let (stream, certificate) = server.handshake(stream).await?;
    let peer = Peer::new(PeerAddress::Tcp(address)).with_certificate(certificate.as_deref());
    Ok(MtlsStream {
        stream,
        address,
        peer,
    })
}

const MAX_HANDSHAKES: usize = 1024;
/// Connections whose handshake succeeded, and which the server has not accepted yet.
const MAX_WAITING: usize = 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_AFTER_ERROR: Duration = Duration::from_millis(100);
