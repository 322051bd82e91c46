//! HTTP/1.1 servers, plain or with TLS. They request the client certificate in the first handshake, or after the request, as
//! Key Vault does.
mod alert_replacement;
mod alert_rewriter;
mod certificate_alert;
mod connection;
mod connection_options;
mod head;
mod hosts;
mod maybe_tls_stream;
mod read_error;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod timeouts;
mod tls_settings;
mod wire;

pub(crate) use certificate_alert::{CertificateAlert, CertificateCheck};
pub(crate) use connection_options::{ConnectionOptions, Refusal};
pub(crate) use timeouts::Timeouts;
pub(crate) use tls_settings::{ClientCertificate, TlsSettings};

use crate::peer::Peer;
use crate::reply::Reply;
use bytes::Bytes;
use http::{Request, request};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Handles the requests of one listener.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The options of a new connection. Called once for each connection.
    fn connection_options(&self) -> ConnectionOptions {
        ConnectionOptions::default()
    }

    /// Whether requests can name Azure's IMDS as their host.
    fn is_link_local(&self) -> bool {
        false
    }

    /// Whether the body of a request is read. If not, the request is handled without it, and the connection is closed.
    fn reads_body(&self, head: &request::Parts) -> bool {
        let _ = head;
        true
    }

    /// Whether the client certificate is requested after the request has been read: by renegotiation (TLS 1.2) or
    /// post-handshake authentication (TLS 1.3).
    fn requests_certificate(&self, head: &request::Parts) -> bool {
        let _ = head;
        false
    }

    /// Handles a request, including its body.
    fn handle(&self, request: Request<Bytes>, peer: Peer) -> impl Future<Output = Reply> + Send;
}

/// A listener that is ready to serve.
pub(crate) struct Server<H> {
    listener: TcpListener,
    shared: Arc<connection::Shared<H>>,
}

impl<H: Handler> Server<H> {
    /// A server with TLS, or of plain HTTP if there are no settings.
    ///
    /// # Errors
    /// If the listener is not on loopback (the emulator serves no other), or OpenSSL rejects the settings.
    pub(crate) fn new(
        listener: TcpListener,
        tls: Option<&TlsSettings>,
        timeouts: Timeouts,
        handler: H,
    ) -> io::Result<Self> {
        let acceptor = tls.map(TlsSettings::acceptor).transpose()?;
        if !listener.local_addr()?.ip().is_loopback() {
            return Err(io::Error::other(
                "the listener is not on a loopback address",
            ));
        }
        let hosts = hosts::Hosts {
            scheme: if acceptor.is_some() { "https" } else { "http" },
            link_local: handler.is_link_local(),
        };
        let shared = connection::Shared {
            acceptor,
            hosts,
            timeouts,
            handler,
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
        })
    }

    /// Serves until the future is dropped, which closes all connections.
    pub(crate) async fn run(self) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            let Ok((stream, address)) = self.listener.accept().await else {
                // No free file handle, or the client has disconnected: both are temporary.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let shared = self.shared.clone();
            connections.spawn(async move {
                connection::serve(stream, address, &shared).await;
                drop(slot);
            });
        }
    }
}

/// Parses the requests of a plain connection from memory, up to the first invalid one; for fuzzers.
pub(crate) fn read_requests(bytes: &[u8], link_local: bool) -> Vec<Request<Bytes>> {
    let hosts = hosts::Hosts {
        scheme: "http",
        link_local,
    };
    let mut wire = wire::Wire::new(tokio::io::join(bytes, tokio::io::sink()));
    let reading = async {
        let mut requests = vec![];
        while let Ok(Some(head)) = wire.read_head(hosts).await {
            let Ok(body) = wire.read_body(head.framing, 64 * 1024).await else {
                break;
            };
            requests.push(head.request.map(|()| body));
        }
        requests
    };
    // Memory is always ready.
    match pin!(reading).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(requests) => requests,
        Poll::Pending => vec![],
    }
}

/// Maximum number of connections; further ones are not accepted until one is closed.
const MAX_CONNECTIONS: usize = 256;
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
