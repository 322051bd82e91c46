//! Test certificates and a minimal client for the tests of the server.
use super::{ClientCertificate, ConnectionOptions, Handler, Server, Timeouts, TlsSettings};
use crate::config::TlsVersionRange;
use crate::peer::Peer;
use crate::pki::ServerIdentity;
use crate::reply::Reply;
use crate::response::Response;
use bytes::Bytes;
use http::{Request, request};
use keybound_openssl::server::offer_post_handshake_auth;
use keybound_testing::{CertificateBuilder, p256_key};
use openssl::nid::Nid;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_openssl::SslStream;

/// A self-signed certificate that expires in `days`; negative: it has expired.
pub(crate) fn self_signed(name: &str, days: i64) -> ServerIdentity {
    let key = p256_key();
    let certificate = CertificateBuilder::new(&key).subject(name).issuer(name);
    ServerIdentity {
        certificate: certificate.days(-3..days).sign(&key),
        key,
    }
}

/// The settings of a test server.
pub(crate) struct Settings {
    pub(crate) tls: TlsSettings,
    pub(crate) timeouts: Timeouts,
}

/// The usual settings: both TLS versions, 5 seconds for a handshake.
pub(crate) fn settings(client_certificate: ClientCertificate) -> Settings {
    Settings {
        tls: TlsSettings {
            identity: self_signed("server", 1),
            versions: TlsVersionRange::Tls12To13,
            client_certificate,
        },
        timeouts: Timeouts {
            handshake: Duration::from_secs(5),
            ..Timeouts::default()
        },
    }
}

/// A server that runs until the value is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn start(settings: &Settings, handler: impl Handler) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(listener, Some(&settings.tls), settings.timeouts, handler).unwrap();
    Running {
        address,
        task: tokio::spawn(server.run()),
    }
}

/// Responds with the subject of the certificate, the length of the body and the TLS version; `/{reply}` injects a fault. Requests
/// a certificate if the header `x-want` is present.
pub(crate) struct Echo;

impl Handler for Echo {
    fn requests_certificate(&self, head: &request::Parts) -> bool {
        head.headers.contains_key("x-want")
    }

    async fn handle(&self, request: Request<Bytes>, peer: Peer) -> Reply {
        let subject = peer
            .client_certificate
            .map_or("none".into(), |der| common_name(&der));
        let text = format!(
            "{subject} {} {}",
            request.body().len(),
            peer.tls_version.unwrap()
        );
        let response = Response::new(Bytes::from(text));
        match request.uri().path() {
            "/oversized" => Reply::Oversized(response, 1_000_000),
            "/truncated" => Reply::Truncated(response),
            "/garbage" => Reply::NotHttp(Bytes::from_static(b"\0\xff no http")),
            "/hang" => Reply::Hang,
            "/close" => Reply::Close,
            "/reset" => Reply::Reset,
            _ => Reply::Full(response),
        }
    }
}

fn common_name(der: &[u8]) -> String {
    let certificate = X509::from_der(der).unwrap();
    let mut entries = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    entries.next().unwrap().data().to_string().unwrap()
}

/// [`Echo`] with connection options.
pub(crate) struct EchoWithOptions<F>(pub(crate) F);

impl<F: Fn() -> ConnectionOptions + Send + Sync + 'static> Handler for EchoWithOptions<F> {
    fn connection_options(&self) -> ConnectionOptions {
        self.0()
    }

    fn requests_certificate(&self, head: &request::Parts) -> bool {
        Echo.requests_certificate(head)
    }

    async fn handle(&self, request: Request<Bytes>, peer: Peer) -> Reply {
        Echo.handle(request, peer).await
    }
}

/// The options of a test client.
#[derive(Default)]
pub(crate) struct ClientOptions {
    pub(crate) pair: Option<ServerIdentity>,
    pub(crate) no_post_handshake_auth: bool,
    pub(crate) no_renegotiation: bool,
    /// The only cipher suite of TLS 1.3 that is offered.
    pub(crate) cipher: Option<&'static str>,
}

impl ClientOptions {
    pub(crate) fn with(pair: &ServerIdentity) -> Self {
        Self {
            pair: Some(pair.clone()),
            ..Self::default()
        }
    }

    pub(crate) fn context(&self, version: SslVersion) -> SslContext {
        let mut context = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
        context.set_min_proto_version(Some(version)).unwrap();
        context.set_max_proto_version(Some(version)).unwrap();
        context.set_verify(SslVerifyMode::NONE);
        if !self.no_post_handshake_auth {
            offer_post_handshake_auth(&mut context);
        }
        if self.no_renegotiation {
            context.set_options(SslOptions::NO_RENEGOTIATION);
        }
        if let Some(cipher) = self.cipher {
            context.set_ciphersuites(cipher).unwrap();
        }
        if let Some(pair) = &self.pair {
            context.set_certificate(&pair.certificate).unwrap();
            context.set_private_key(&pair.key).unwrap();
        }
        context.build()
    }
}

/// A minimal TLS client.
pub(crate) struct Client {
    pub(crate) stream: SslStream<TcpStream>,
}

impl Client {
    pub(crate) async fn connect(
        address: SocketAddr,
        version: SslVersion,
        options: &ClientOptions,
    ) -> io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        let ssl = Ssl::new(&options.context(version))?;
        let mut stream = SslStream::new(ssl, tcp)?;
        Pin::new(&mut stream)
            .connect()
            .await
            .map_err(io::Error::other)?;
        Ok(Self { stream })
    }

    /// Sends bytes and reads one response.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Received> {
        self.stream.write_all(request).await?;
        self.receive().await
    }

    pub(crate) async fn receive(&mut self) -> io::Result<Received> {
        let mut bytes = vec![];
        loop {
            if let Some(received) = Received::parse(&bytes) {
                return Ok(received);
            }
            if self.stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &str) -> io::Result<Received> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        self.send(request.as_bytes()).await
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Received> {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let body = bytes.get(end..end + length)?.to_vec();
        Some(Self {
            status: head.get(9..12)?.parse().ok()?,
            head,
            body,
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
