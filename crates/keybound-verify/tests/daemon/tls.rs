//! The listener with TLS and pinned certificates.
use crate::fixture::{Fixture, case, connect, get, status, subrequest};
use crate::support::runtime;
use keybound_testing::{Authority, CapturedLog, Leaf};
use keybound_verify::{Daemon, DecisionLog};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, advance, pause, resume};
use tokio_openssl::SslStream;

#[test]
fn tls_admits_the_pinned_proxy_only() {
    runtime().block_on(async {
        let tls = TlsDaemon::start("").await;
        assert_eq!(tls.status_for(&tls.proxy).await, 200);
        for leaf in [Some(&tls.other), None] {
            let mut sender = connect(tls.connect(leaf).await).await;
            assert!(sender.send_request(tls.request()).await.is_err());
        }
        tls.daemon.stop(Duration::ZERO).await;
    });
}

/// Every peer that can connect can do so again and again.
#[test]
fn unpinned_peers_are_counted_and_logged_once_a_minute() {
    let log = CapturedLog::default();
    let connections = async {
        let tls = TlsDaemon::start("").await;
        for _ in 0..5 {
            tls.is_closed(&tls.other).await;
        }
        // Not during a handshake, which would time out.
        pause();
        advance(Duration::from_secs(60)).await;
        resume();
        tls.is_closed(&tls.other).await;
        let (_, metrics) = get(&tls.fixture.admin(), "GET", "/metrics").await;
        let count = "keybound_verify_unpinned_connections_total 6\n";
        assert!(metrics.contains(count), "{metrics}");
        tls.daemon.stop(Duration::ZERO).await;
    };
    log.during(|| runtime().block_on(connections));
    let warnings = log.lines_with("without a pinned certificate");
    let counts = ["connections=1 ", "connections=5 "];
    assert_eq!(warnings.len(), counts.len(), "{warnings:?}");
    for (warning, count) in warnings.iter().zip(counts) {
        assert!(warning.contains(count), "{warning}");
    }
}

#[test]
fn unfinished_handshakes_leave_places_to_proxies_and_end_after_ten_seconds() {
    runtime().block_on(async {
        let tls = TlsDaemon::start("[limits]\nconnections = 2\n").await;
        let started = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..10 {
            silent.push(TcpStream::connect(("127.0.0.1", tls.port)).await.unwrap());
        }
        assert_eq!(tls.status_for(&tls.proxy).await, 200);
        // It did not wait for their end.
        for stream in &silent {
            let is_open = stream.try_read(&mut [0]).unwrap_err();
            assert_eq!(is_open.kind(), std::io::ErrorKind::WouldBlock);
        }
        pause();
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        }
        assert!(started.elapsed() >= HANDSHAKE);
        assert!(started.elapsed() < 2 * HANDSHAKE);
        tls.daemon.stop(Duration::ZERO).await;
    });
}

/// A daemon that listens with TLS for one proxy.
struct TlsDaemon {
    fixture: Fixture,
    daemon: Daemon,
    port: u16,
    proxy: Leaf,
    /// Of the same CA, with the same name.
    other: Leaf,
}

impl TlsDaemon {
    async fn start(limits: &str) -> Self {
        let fixture = Fixture::new();
        let authority = Authority::new("proxies");
        let (server, proxy, other) = (
            authority.server("localhost"),
            authority.server("proxy"),
            authority.server("proxy"),
        );
        let pem = |name: &str, bytes: &[u8]| {
            let path = fixture.folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let certificate = pem("server.pem", &server.certificate.to_pem().unwrap());
        let key = pem(
            "server.key",
            &server.key.private_key_to_pem_pkcs8().unwrap(),
        );
        let client = pem("proxy.pem", &proxy.certificate.to_pem().unwrap());
        let socket = format!("unix = {:?}\n", fixture.socket());
        fixture.replace(
            &socket,
            &format!("tcp = \"0.0.0.0:0\"\n[listen.tls]\ncertificate = {certificate:?}\nkey = {key:?}\nclients = [{client:?}]\n{limits}"),
        );
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        Self {
            port: daemon.address().unwrap().port(),
            fixture,
            daemon,
            proxy,
            other,
        }
    }

    fn request(&self) -> http::Request<http_body_util::Empty<bytes::Bytes>> {
        subrequest(&case("version-2"), "orders.contoso.com")
    }

    async fn status_for(&self, leaf: &Leaf) -> u16 {
        let mut sender = connect(self.connect(Some(leaf)).await).await;
        status(&mut sender, self.request()).await.0
    }

    /// A connection whose peer presents a certificate ends without a response.
    async fn is_closed(&self, leaf: &Leaf) {
        let mut stream = self.connect(Some(leaf)).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    }

    async fn connect(&self, leaf: Option<&Leaf>) -> SslStream<TcpStream> {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        if let Some(leaf) = leaf {
            connector.set_certificate(&leaf.certificate).unwrap();
            connector.set_private_key(&leaf.key).unwrap();
        }
        let ssl = connector.build().configure().unwrap();
        let ssl = ssl.into_ssl("localhost").unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mut stream = SslStream::new(ssl, tcp).unwrap();
        Pin::new(&mut stream).connect().await.unwrap();
        stream
    }
}

const HANDSHAKE: Duration = Duration::from_secs(10);
