//! Where a layer gets the client certificate of a request from.
mod forwarded;
mod network;
mod trusted_peers;

use crate::{CertificateError, ClientCertificate};
pub use forwarded::{ForwardedCertificate, HeaderFormat, IgnoredHeaders};
use http::{Extensions, HeaderMap};
pub use network::{Network, NetworkError};
use std::net::SocketAddr;
pub use trusted_peers::TrustedPeers;

/// Where a layer gets the client certificate of a request from: exactly one place. Certificates in any other place are ignored.
pub trait CertificateSource: Clone + Send + Sync + 'static {
    /// The client certificate of a request. `Ok(None)` if the client presented none; the request is then refused.
    ///
    /// # Errors
    /// If what is present is not one certificate.
    fn certificate(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<ClientCertificate>, CertificateError>;
}

/// The certificate of the TLS connection: a [`Peer`] in the request's extensions, which the server puts there for each request of
/// the connection. Without one, the client has presented no certificate.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionPeer;

impl ConnectionPeer {
    /// The certificate of the TLS connection.
    pub fn new() -> Self {
        Self
    }
}

impl CertificateSource for ConnectionPeer {
    fn certificate(
        &self,
        _: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<ClientCertificate>, CertificateError> {
        match peer(extensions) {
            Some(peer) => peer.certificate.clone(),
            None => Ok(None),
        }
    }
}

/// The other end of a connection: its address, and the certificate that it presented in the TLS handshake. A server puts it into the
/// extensions of each request.
#[derive(Clone, Debug)]
pub struct Peer {
    address: PeerAddress,
    certificate: Result<Option<ClientCertificate>, CertificateError>,
}

/// The address of the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerAddress {
    /// A TCP connection.
    Tcp(SocketAddr),
    /// A Unix socket, whose file permissions limit who can connect.
    UnixSocket,
}

impl Peer {
    /// The other end of a connection, without a certificate.
    pub fn new(address: PeerAddress) -> Self {
        Self {
            address,
            certificate: Ok(None),
        }
    }

    /// Adds the certificate of the handshake, in DER. One that cannot be parsed is refused with each request.
    #[must_use]
    pub fn with_certificate(mut self, der: Option<&[u8]>) -> Self {
        self.certificate = der.map(ClientCertificate::from_der).transpose();
        self
    }

    /// Its address.
    pub fn address(&self) -> PeerAddress {
        self.address
    }

    /// The certificate that it presented.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref().ok()?.as_ref()
    }
}

/// The peer of a request's connection.
fn peer(extensions: &Extensions) -> Option<&Peer> {
    let peer = extensions.get::<Peer>();
    #[cfg(feature = "axum")]
    let peer = peer.or_else(|| {
        let info = extensions.get::<axum::extract::ConnectInfo<Peer>>();
        info.map(|axum::extract::ConnectInfo(peer)| peer)
    });
    peer
}
