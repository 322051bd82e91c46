//! The attack table through servers of tonic and axum, over TLS connections with the certificates of the cases.
use crate::runtime;
use crate::support::issuer;
use axum::Router;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound_resource::Reason;
use keybound_resource::axum::Authenticated;
use keybound_resource::source::Peer;
use keybound_resource::tls::{MtlsListener, OpensslServer, request_any_client_certificate};
use keybound_testing::Authority;
use keybound_testing::attacks::{AttackRequest, CLIENT, Verdict, run_sendable};
use layer_of_case::{CASE, LayerOfCase, REASON};
use openssl::ssl::{AlpnError, Ssl, SslContext, SslMethod, SslVersion, select_next_proto};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::net::{TcpListener, TcpStream};
use tokio_openssl::SslStream;
use tonic::transport::Server;

#[path = "layer_of_case.rs"]
mod layer_of_case;
#[path = "../support/orders.rs"]
mod orders;

#[test]
fn attack_table_through_a_server_of_tonic() {
    through_server("tonic", "/orders.Orders/List", true, |listener| {
        let server = Server::builder()
            .http2_max_header_list_size(MAX_HEADERS)
            .layer(LayerOfCase::new(true))
            .add_service(orders::Orders);
        let incoming = keybound_resource::tonic::incoming(listener);
        tokio::spawn(server.serve_with_incoming(incoming));
    });
}

#[test]
fn attack_table_through_a_server_of_axum() {
    through_server("axum", "/orders", false, |listener| {
        let orders = async |caller: Authenticated| [("caller", caller.client().to_owned())];
        let app = Router::new()
            .route("/orders", axum::routing::post(orders))
            .layer(LayerOfCase::new(false))
            .into_make_service_with_connect_info::<Peer>();
        tokio::spawn(async move { axum::serve(listener, app).await });
    });
}

/// One server has all cases. `path` is that of the API.
fn through_server(way: &str, path: &str, grpc: bool, serve: impl FnOnce(MtlsListener)) {
    let runtime = runtime();
    let address = runtime.block_on(async {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        serve(MtlsListener::new(tcp, OpensslServer::new(server_context()).unwrap()).unwrap());
        address
    });
    let mut client = Client::new(address);
    let mut number = 0;
    let mut not_sent = run_sendable(way, issuer(), |request, _| {
        number += 1;
        let http = http_request(request, path, number - 1)?;
        let certificate = request.certificate.as_deref();
        let response = runtime.block_on(client.send(certificate, http))?;
        // More than the header list of HTTP/2 that axum's server accepts. Its limit cannot be set.
        let is_refused_by_http = response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        (grpc || !is_refused_by_http).then(|| verdict(&response, grpc))
    });
    let mut expected = NOT_SENT.to_vec();
    if !grpc {
        expected.extend(["long-claims", "too-long"]);
    }
    expected.sort_unstable();
    not_sent.sort_unstable();
    assert_eq!(not_sent, expected, "{way}");
}

/// `None` if the headers are not valid in HTTP.
fn http_request(request: &AttackRequest, path: &str, case: usize) -> Option<Request<Empty<Bytes>>> {
    let uri = request.path.replacen("/orders", path, 1);
    let mut http = Request::post(format!("https://localhost{uri}"))
        .header("content-type", "application/grpc")
        .header(CASE, case)
        .body(Empty::new())
        .unwrap();
    for value in &request.authorization {
        let value = HeaderValue::from_bytes(value).ok()?;
        http.headers_mut().append(AUTHORIZATION, value);
    }
    for (name, value) in &request.headers {
        let name = HeaderName::try_from(name).unwrap();
        http.headers_mut().append(name, value.parse().unwrap());
    }
    Some(http)
}

fn verdict(response: &Response<Incoming>, grpc: bool) -> Verdict {
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().unwrap())
    };
    let Some(code) = header(REASON) else {
        assert_eq!(response.status(), 200);
        assert_eq!(header("grpc-status"), grpc.then_some("0"));
        assert_eq!(header("caller"), Some(CLIENT));
        return Verdict::accepted();
    };
    assert_eq!(header("caller"), None, "the service was not called");
    let mut status = response.status().as_u16();
    if grpc {
        let mut reasons = Reason::ALL.iter();
        let reason = reasons.find(|reason| reason.code() == code).unwrap();
        assert_eq!(status, 200);
        assert_eq!(header("grpc-status"), Some(crate::grpc_status(*reason)));
        assert_eq!(header("grpc-message"), Some(reason.description()));
        status = reason.status();
    }
    let challenge = header(WWW_AUTHENTICATE.as_str()).map(str::to_owned);
    Verdict::refused(status, Some(code.to_owned()), challenge)
}

/// One connection for each certificate.
struct Client {
    server: SocketAddr,
    connections: HashMap<Option<Vec<u8>>, SendRequest<Empty<Bytes>>>,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        Self {
            server,
            connections: HashMap::new(),
        }
    }

    /// `None` if no TLS connection has this certificate.
    async fn send(
        &mut self,
        certificate: Option<&[u8]>,
        request: Request<Empty<Bytes>>,
    ) -> Option<Response<Incoming>> {
        let key = certificate.map(<[u8]>::to_vec);
        if !self.connections.contains_key(&key) {
            let connection = connect(self.server, certificate).await?;
            self.connections.insert(key.clone(), connection);
        }
        let connection = self.connections.get_mut(&key)?;
        connection.ready().await.unwrap();
        Some(connection.send_request(request).await.unwrap())
    }
}

async fn connect(
    server: SocketAddr,
    certificate: Option<&[u8]>,
) -> Option<SendRequest<Empty<Bytes>>> {
    // The server's certificate is not the concern of this test.
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    // Otherwise the client itself refuses its weak keys.
    context.set_security_level(0);
    context.set_groups_list(GROUPS).unwrap();
    context.set_alpn_protos(HTTP_2).unwrap();
    if let Some(der) = certificate {
        let leaf = issuer().certificates.leaf_of(der)?;
        context.set_certificate(&leaf.certificate).unwrap();
        context.set_private_key(&leaf.key).unwrap();
        if leaf.key.bits() == 224 {
            // TLS 1.3 has no signatures with this curve.
            let version = Some(SslVersion::TLS1_2);
            context.set_max_proto_version(version).unwrap();
        }
    }
    let tcp = TcpStream::connect(server).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut stream = SslStream::new(Ssl::new(&context.build()).unwrap(), tcp).unwrap();
    Pin::new(&mut stream).connect().await.unwrap();
    let io = TokioIo::new(stream);
    let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    Some(sender)
}

fn server_context() -> SslContext {
    let leaf = Authority::new("attack table").server("localhost");
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_certificate(&leaf.certificate).unwrap();
    context.set_private_key(&leaf.key).unwrap();
    context.set_groups_list(GROUPS).unwrap();
    context.set_alpn_select_callback(|_, offered| {
        select_next_proto(HTTP_2, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    request_any_client_certificate(&mut context).unwrap();
    context.build()
}

/// In the form of ALPN.
const HTTP_2: &[u8] = b"\x02h2";
/// Those of the servers' certificates, and of the weak one.
const GROUPS: &str = "P-256:P-224";
const MAX_HEADERS: u32 = 64 << 10;
/// Certificates that are none, and characters that no header has.
const NOT_SENT: [&str; 7] = [
    "certificate-malformed",
    "certificate-empty",
    "certificate-trailing",
    "certificate-two",
    "line-feed",
    "line-feed-in-the-claims",
    "nul",
];
