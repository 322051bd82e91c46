//! Ports for servers that take no socket, such as proxies.
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// A port of the loopback address 127.0.0.1, which Linux gives to no other process while this value exists: neither to one that
/// binds any port nor to an outgoing connection. A server that binds this port with `SO_REUSEADDR`, as most do, gets it; until it
/// listens, connections are refused.
pub struct ReservedPort {
    // Bound, but not listening.
    _socket: TcpSocket,
    address: SocketAddr,
}

impl ReservedPort {
    /// Reserves a port that no one uses.
    #[expect(clippy::new_without_default, reason = "each one is another port")]
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Self {
            _socket: socket,
            address,
        }
    }

    /// The port with its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn server_gets_the_port_again_and_again() {
        let port = ReservedPort::new();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            // The standard library sets SO_REUSEADDR.
            let server = TcpListener::bind(port.address()).unwrap();
            let client = TcpStream::connect(port.address()).unwrap();
            let (accepted, _) = server.accept().unwrap();
            // The end of the server leaves a connection that waits.
            drop((accepted, client));
        }
    }

    #[test]
    fn each_one_is_another_port() {
        let port = ReservedPort::new();
        let without_reuse = TcpSocket::new_v4().unwrap();
        let taken = without_reuse.bind(port.address()).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        assert_ne!(ReservedPort::new().port(), port.port());
    }
}
