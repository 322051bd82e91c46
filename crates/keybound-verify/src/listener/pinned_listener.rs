use super::{named, read};
use crate::TlsConfig;
use crate::metrics::Metrics;
use keybound_core::X5tS256;
use keybound_resource::source::TrustedPeers;
use keybound_resource::tls::{
    MtlsListener, MtlsStream, OpensslServer, request_any_client_certificate,
};
use keybound_resource::warning_limit::WarningLimit;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// TLS, for the proxies with these certificates.
pub(crate) struct PinnedListener {
    listener: MtlsListener,
    pinned: Vec<X5tS256>,
    metrics: Arc<Metrics>,
    warnings: WarningLimit,
}

impl PinnedListener {
    pub(super) async fn bind(
        address: SocketAddr,
        tls: &TlsConfig,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let pinned = thumbprints(tls)?;
        let acceptor = acceptor(tls)?;
        let tcp = TcpListener::bind(address).await.map_err(named(&address))?;
        Ok(Self {
            listener: MtlsListener::new(tcp, OpensslServer::new(acceptor.into_context()))?,
            pinned,
            metrics,
            warnings: WarningLimit::default(),
        })
    }

    /// Those who can connect.
    pub(super) fn trusted(&self) -> TrustedPeers {
        TrustedPeers::certificates(self.pinned.clone())
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// The next connection of a peer with one of the certificates. The others are closed.
    pub(super) async fn accept(&mut self) -> MtlsStream {
        loop {
            let stream = self.listener.accept().await;
            let certificate = stream.peer().certificate();
            if certificate.is_some_and(|presented| self.pinned.contains(presented.thumbprint())) {
                return stream;
            }
            self.metrics.count_unpinned_connection();
            // Every peer that can connect causes this.
            if let Some(connections) = self.warnings.count() {
                tracing::warn!(
                    connections,
                    address = %stream.address(),
                    "closed connections without a pinned certificate; this is the last one's address"
                );
            }
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
fn thumbprints(tls: &TlsConfig) -> io::Result<Vec<X5tS256>> {
    let mut pinned = Vec::new();
    for path in &tls.clients {
        let certificate = X509::from_pem(&read(path)?).map_err(named(&path.display()))?;
        pinned.push(X5tS256::of_der(&certificate.to_der()?));
    }
    Ok(pinned)
}
