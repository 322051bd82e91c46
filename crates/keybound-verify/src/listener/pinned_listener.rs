use super::{Admission, CurrentTls, named};
use crate::metrics::Metrics;
use keybound_core::X5tS256;
use keybound_resource::tls::{HandshakeFuture, MtlsListener, MtlsStream, TlsServer};
use keybound_resource::warning_limit::WarningLimit;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// TLS, for the proxies with pinned certificates.
pub(crate) struct PinnedListener {
    listener: MtlsListener,
    tls: CurrentTls,
}

impl PinnedListener {
    pub(super) async fn bind(
        address: SocketAddr,
        tls: CurrentTls,
        metrics: Arc<Metrics>,
        handshakes: usize,
    ) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await.map_err(named(&address))?;
        let server = PinningServer {
            tls: tls.clone(),
            metrics,
            warnings: WarningLimit::default(),
        };
        Ok(Self {
            listener: MtlsListener::with_max_handshakes(tcp, server, handshakes)?,
            tls,
        })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// The next connection of a peer with one of the certificates.
    pub(super) async fn accept(&mut self) -> (MtlsStream, Admission) {
        loop {
            let stream = self.listener.accept().await;
            // One that cannot be parsed is not trusted later on.
            if let Some(certificate) = stream.peer().certificate() {
                let admission = self.tls.admission(certificate.thumbprint().clone());
                return (stream, admission);
            }
        }
    }
}

/// The TLS of new connections. Those of peers without a pinned certificate are closed.
struct PinningServer {
    tls: CurrentTls,
    metrics: Arc<Metrics>,
    warnings: WarningLimit,
}

impl TlsServer for PinningServer {
    fn handshake(self: Arc<Self>, stream: TcpStream) -> HandshakeFuture {
        let server = Arc::clone(&self.tls.load().server);
        Box::pin(async move {
            let address = stream.peer_addr()?;
            let (stream, certificate) = server.handshake(stream).await?;
            let thumbprint = certificate.as_deref().map(X5tS256::of_der);
            // Those that are pinned now: a reload may have ended meanwhile.
            let current = self.tls.load();
            if thumbprint.is_some_and(|thumbprint| current.is_pinned(&thumbprint)) {
                return Ok((stream, certificate));
            }
            self.report_unpinned(address);
            Err(io::Error::other("no pinned certificate was presented"))
        })
    }
}

impl PinningServer {
    fn report_unpinned(&self, address: SocketAddr) {
        self.metrics.count_unpinned_connection();
        // Every peer that can connect causes this.
        if let Some(connections) = self.warnings.count() {
            tracing::warn!(
                connections,
                %address,
                "closed connections without a pinned certificate; this is the last one's address"
            );
        }
    }
}
