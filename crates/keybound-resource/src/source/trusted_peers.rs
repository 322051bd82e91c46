use super::{Peer, PeerAddress};
use keybound_core::X5tS256;
use std::net::IpAddr;

/// The peers whose headers with client certificates are trusted: the proxies in front of a resource. A peer that can send such a header
/// can use every token that it has stolen.
#[derive(Clone, Debug)]
pub struct TrustedPeers(Rule);

#[derive(Clone, Debug)]
enum Rule {
    Local,
    Addresses(Vec<IpAddr>),
    Certificates(Vec<X5tS256>),
    Everyone,
}

impl TrustedPeers {
    /// Peers on loopback and on Unix sockets. Every program of the host can connect to loopback.
    pub fn local() -> Self {
        Self(Rule::Local)
    }

    /// Peers with these addresses, for a network in which nobody else can have them.
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(Rule::Addresses(addresses.into_iter().collect()))
    }

    /// Peers that presented one of these certificates, by their thumbprints. The connection from the proxy is then TLS with a client
    /// certificate.
    pub fn certificates(thumbprints: impl IntoIterator<Item = X5tS256>) -> Self {
        Self(Rule::Certificates(thumbprints.into_iter().collect()))
    }

    /// Every peer: for platforms where only the proxy can connect to the resource, and which remove the header from clients' requests,
    /// such as App Service.
    pub fn everyone() -> Self {
        Self(Rule::Everyone)
    }

    /// Whether a peer is trusted. One that is unknown is not, unless everyone is.
    pub(super) fn contain(&self, peer: Option<&Peer>) -> bool {
        match (&self.0, peer) {
            (Rule::Everyone, _) => true,
            (_, None) => false,
            (Rule::Local, Some(peer)) => match peer.address() {
                PeerAddress::UnixSocket => true,
                PeerAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            },
            (Rule::Addresses(trusted), Some(peer)) => match peer.address() {
                PeerAddress::UnixSocket => false,
                PeerAddress::Tcp(address) => trusted.contains(&address.ip().to_canonical()),
            },
            (Rule::Certificates(trusted), Some(peer)) => peer
                .certificate()
                .is_some_and(|certificate| trusted.contains(certificate.thumbprint())),
        }
    }
}
