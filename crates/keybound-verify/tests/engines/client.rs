//! A client with a certificate.
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use keybound_testing::Leaf;
use openssl::ssl::{Ssl, SslContext, SslMethod};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// The connections to a proxy: one for each host and certificate.
pub struct Client {
    proxy: SocketAddr,
    connections: HashMap<(String, String), SendRequest<Empty<Bytes>>>,
}

impl Client {
    pub fn new(proxy: SocketAddr) -> Self {
        Self {
            proxy,
            connections: HashMap::new(),
        }
    }

    /// Sends a request. An error if the proxy refuses the handshake.
    pub async fn send(
        &mut self,
        host: &str,
        (name, certificate): (&str, Option<&Leaf>),
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response<String>, String> {
        let mut request = Request::get(path).body(Empty::new()).unwrap();
        request.headers_mut().clone_from(headers);
        let authority = format!("{host}:{}", self.proxy.port());
        let authority = HeaderValue::try_from(authority).unwrap();
        request.headers_mut().insert("host", authority);
        let of = (host.to_owned(), name.to_owned());
        let mut connection = match self.connections.remove(&of) {
            Some(open) if !open.is_closed() => open,
            _ => connect(self.proxy, host, certificate).await?,
        };
        // TLS 1.3: the server refuses a certificate after the client has finished its handshake.
        let refused = |error: hyper::Error| error.to_string();
        connection.ready().await.map_err(refused)?;
        let response = connection.send_request(request).await.map_err(refused)?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(refused)?.to_bytes();
        self.connections.insert(of, connection);
        Ok(Response::from_parts(
            parts,
            String::from_utf8_lossy(&body).into_owned(),
        ))
    }
}

async fn connect(
    proxy: SocketAddr,
    host: &str,
    certificate: Option<&Leaf>,
) -> Result<SendRequest<Empty<Bytes>>, String> {
    let stream = handshake(proxy, host, certificate, HTTP_1).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Ok(sender)
}

/// Connects to a proxy by TLS with the name of a host, and asks for a protocol.
pub async fn handshake(
    proxy: SocketAddr,
    host: &str,
    certificate: Option<&Leaf>,
    protocol: &[u8],
) -> Result<SslStream<TcpStream>, String> {
    // Unlike a connector, a context does not read the trust anchors of the system: the certificate of the proxy is not what is tested.
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    // Otherwise the client itself refuses its weak keys.
    context.set_security_level(0);
    if let Some(leaf) = certificate {
        context.set_certificate(&leaf.certificate).unwrap();
        context.set_private_key(&leaf.key).unwrap();
    }
    context.set_alpn_protos(protocol).unwrap();
    let mut ssl = Ssl::new(&context.build()).unwrap();
    ssl.set_hostname(host).unwrap();
    let tcp = TcpStream::connect(proxy).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut stream = SslStream::new(ssl, tcp).unwrap();
    let handshake = Pin::new(&mut stream).connect().await;
    handshake.map_err(|error| error.to_string())?;
    Ok(stream)
}

/// In the format of ALPN.
pub const HTTP_1: &[u8] = b"\x08http/1.1";
pub const HTTP_2: &[u8] = b"\x02h2";
