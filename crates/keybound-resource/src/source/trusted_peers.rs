use super::{Network, Peer, PeerAddress};
use keybound_core::X5tS256;
use std::net::IpAddr;

/// The peers whose headers with client certificates are trusted: the proxies in front of a resource. A peer that can send such a header
/// can use every token that it has stolen.
#[derive(Clone, Debug)]
pub struct TrustedPeers(Rule);

#[derive(Clone, Debug)]
enum Rule {
    Local,
    Networks(Vec<Network>),
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
        Self::networks(addresses.into_iter().map(Network::of_address))
    }

    /// Peers in these networks, in which nobody else than proxies can be: such as the subnets of a load balancer, whose addresses change.
    pub fn networks(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(Rule::Networks(networks.into_iter().collect()))
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
            (Rule::Networks(trusted), Some(peer)) => match peer.address() {
                PeerAddress::UnixSocket => false,
                PeerAddress::Tcp(address) => {
                    let address = address.ip().to_canonical();
                    trusted.iter().any(|network| network.contains(address))
                }
            },
            (Rule::Certificates(trusted), Some(peer)) => peer
                .certificate()
                .is_some_and(|certificate| trusted.contains(certificate.thumbprint())),
        }
    }
}
