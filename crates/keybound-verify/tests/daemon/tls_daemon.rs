//! A daemon that listens with TLS, and its proxies.
use crate::fixture::{Fixture, case, connect, status, subrequest};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use keybound_testing::{Authority, Leaf};
use keybound_verify::{Daemon, DecisionLog};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use std::path::PathBuf;
use std::pin::Pin;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// A daemon that listens with TLS for one proxy.
pub struct TlsDaemon {
    pub fixture: Fixture,
    pub daemon: Daemon,
    pub port: u16,
    pub proxy: Leaf,
    /// Of the same CA, with the same name.
    pub other: Leaf,
}

impl TlsDaemon {
    pub async fn start(limits: &str) -> Self {
        let fixture = Fixture::new();
        let authority = Authority::new("proxies");
        let server = authority.server("localhost");
        let (proxy, other) = (authority.server("proxy"), authority.server("proxy"));
        let path = |name| fixture.folder.path().join(name);
        let [certificate, key, client] = [CERTIFICATE, KEY, CLIENTS].map(path);
        write_server(&fixture, &server);
        std::fs::write(&client, proxy.pem()).unwrap();
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

    pub fn request(&self) -> Request<Empty<Bytes>> {
        subrequest(&case("version-2"), "orders.contoso.com")
    }

    pub async fn status_for(&self, leaf: &Leaf) -> u16 {
        let mut sender = connect(self.connect(Some(leaf)).await).await;
        status(&mut sender, self.request()).await.0
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.fixture.folder.path().join(name)
    }

    /// A connection whose peer presents a certificate ends without a response.
    pub async fn is_closed(&self, leaf: &Leaf) {
        let mut stream = self.connect(Some(leaf)).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    }

    pub async fn connect(&self, leaf: Option<&Leaf>) -> SslStream<TcpStream> {
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

/// Writes the files of the daemon's certificate.
pub fn write_server(fixture: &Fixture, server: &Leaf) {
    let path = |name| fixture.folder.path().join(name);
    std::fs::write(path(CERTIFICATE), server.pem()).unwrap();
    std::fs::write(path(KEY), server.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
}

/// The names of the files of `[listen.tls]`.
pub const CERTIFICATE: &str = "server.pem";
pub const KEY: &str = "server.key";
pub const CLIENTS: &str = "proxy.pem";
