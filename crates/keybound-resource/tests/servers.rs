//! TLS servers with client certificates, with axum and tonic above them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "servers/flood.rs"]
mod flood;
#[path = "support/orders.rs"]
mod orders;

use axum::Router;
use axum::routing::get;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound_resource::axum::{Authenticated, RequireRole, Role};
use keybound_resource::source::{ConnectionPeer, ForwardedCertificate, Peer, TrustedPeers};
use keybound_resource::tls::{
    AnyClientCertificate, MtlsListener, OpensslServer, RustlsServer, request_any_client_certificate,
};
use keybound_resource::tower::MtlsPopLayer;
use keybound_resource::{Clock as _, Guid, KeySet, Keys, SystemClock, Verifier};
use keybound_testing::attacks::{CLIENT, RESOURCE, TENANT, TestIssuer, TokenRecipe};
use keybound_testing::{Authority, Leaf};
use openssl::ssl::{SslConnector, SslContext, SslMethod, SslVerifyMode, SslVersion};
use orders::Orders;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::UNIX_EPOCH;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_openssl::SslStream;
use tokio_rustls::TlsConnector;
use tonic::server::NamedService;
use tonic::transport::Server;

#[tokio::test]
async fn axum_behind_rustls_and_openssl_accepts_the_owner_of_the_token_only() {
    for server in [rustls_listener().await, openssl_listener().await] {
        let address = serve(server);
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let own = connect(address, Some("client"), version).await.unwrap();
            let (status, body) = request(own, "/orders", Some(token())).await;
            assert_eq!((status, body.as_str()), (200, CLIENT));
            let stolen = connect(address, Some("other"), version).await.unwrap();
            let (status, _) = request(stolen, "/orders", Some(token())).await;
            assert_eq!(status, 401);
            let anonymous = connect(address, None, version).await.unwrap();
            assert_eq!(request(anonymous, "/orders", Some(token())).await.0, 401);
        }
    }
}

#[tokio::test]
async fn expired_and_self_signed_certificates_complete_the_handshake() {
    for server in [rustls_listener().await, openssl_listener().await] {
        let address = serve(server);
        let expired = connect(address, Some("expired"), SslVersion::TLS1_3).await;
        let recipe = r#"{"bound_to":"expired"}"#;
        let (status, _) = request(expired.unwrap(), "/orders", Some(&made(recipe))).await;
        assert_eq!(status, 401);
    }
}

/// The certificate is public: only the signature of the handshake proves that the client has its key.
#[tokio::test]
async fn certificate_without_its_key_fails_the_handshake() {
    for server in [rustls_listener().await, openssl_listener().await] {
        let address = serve(server);
        for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
            let certificate = issuer().certificates.leaf("client");
            let other = issuer().certificates.leaf("other");
            let right = connect_rustls(address, versions, certificate, certificate).await;
            assert!(right.unwrap().starts_with("HTTP/1.1 200"));
            let wrong = connect_rustls(address, versions, certificate, other).await;
            assert!(wrong.is_none_or(|response| response.is_empty()));
        }
    }
}

#[tokio::test]
async fn slow_handshake_does_not_delay_others() {
    let address = serve(rustls_listener().await);
    let _silent = TcpStream::connect(address).await.unwrap();
    let own = connect(address, Some("client"), SslVersion::TLS1_3).await;
    assert_eq!(request(own.unwrap(), "/orders", Some(token())).await.0, 200);
}

/// More of them than handshakes may run.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn silent_connections_do_not_delay_others() {
    // A paused clock does not advance while a blocking task runs: no handshake reaches its timeout.
    let (_end, ended) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || ended.recv());
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = OpensslServer::new(openssl_context(b"\x08http/1.1")).unwrap();
    let address = serve(MtlsListener::with_max_handshakes(tcp, server, 16).unwrap());
    // Slow, but of another address than the silent ones.
    let patient = TcpStream::connect(address).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(address).await.unwrap());
    }
    let own = connect(address, Some("client"), SslVersion::TLS1_3).await;
    assert_eq!(request(own.unwrap(), "/orders", Some(token())).await.0, 200);
    // It did not wait for their end.
    let newest = silent.pop().unwrap();
    let is_open = newest.try_read(&mut [0]).unwrap_err();
    assert_eq!(is_open.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(silent[0].read(&mut [0]).await.unwrap_or(0), 0);
    let patient = handshake(patient, Some("client"), SslVersion::TLS1_3, b"\x08http/1.1").await;
    let patient = patient.unwrap();
    assert_eq!(request(patient, "/orders", Some(token())).await.0, 200);
}

#[test]
fn context_that_requests_no_certificate_is_refused() {
    let context = SslContext::builder(SslMethod::tls_server()).unwrap();
    let error = OpensslServer::new(context.build()).unwrap_err();
    let expected = "the TLS context does not request client certificates";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn missing_role_has_a_challenge() {
    let address = serve(openssl_listener().await);
    let stream = connect(address, Some("client"), SslVersion::TLS1_3).await;
    let (head, _) = exchange(stream.unwrap(), "/admin", Some(token())).await;
    let expected = "www-authenticate: mtls_pop realm=\"\", error=\"insufficient_scope\", error_description=\"the token lacks a required role\"";
    assert!(head.contains(expected), "{head}");
}

/// Behind a proxy that ends TLS.
#[tokio::test]
async fn axum_reads_the_header_of_a_proxy_on_a_plain_listener() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let source = ForwardedCertificate::nginx(TrustedPeers::local());
    let app = Router::new()
        .route("/orders", get(async |_: Authenticated| "orders"))
        .layer(MtlsPopLayer::new(verifier(), source))
        .route(
            "/",
            get(async |caller: Option<Authenticated>| caller.is_some().to_string()),
        )
        .into_make_service_with_connect_info::<Peer>();
    tokio::spawn(async move { axum::serve(tcp, app).await });
    let der = issuer().certificates.der("client").unwrap();
    let pem = issuer().certificates.url_encoded_pem(&der);
    for (path, header, status, body) in [
        (
            "/orders",
            format!("X-SSL-Client-Cert: {pem}\r\n"),
            200,
            "orders",
        ),
        ("/orders", String::new(), 401, ""),
        ("/", String::new(), 200, "false"),
    ] {
        let text = request_text(path, Some(token()));
        let text = text.replacen("Host:", &format!("{header}Host:"), 1);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, found) = response.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {head}"
        );
        assert_eq!(found, body, "{path}");
    }
}

#[tokio::test]
async fn handlers_get_the_caller_and_require_roles() {
    let address = serve(openssl_listener().await);
    let get = async |path| {
        let stream = connect(address, Some("client"), SslVersion::TLS1_3).await;
        request(stream.unwrap(), path, Some(token())).await.0
    };
    assert_eq!(get("/read").await, 200);
    assert_eq!(get("/admin").await, 403);
    assert_eq!(get("/open").await, 500, "it is not below the layer");
}

#[tokio::test]
async fn tonic_gets_the_caller() {
    let (listener, address) = openssl_listener_for(b"\x02h2").await;
    let layer = MtlsPopLayer::new(verifier(), ConnectionPeer::new()).grpc();
    let server = Server::builder().layer(layer).add_service(Orders);
    let incoming = keybound_resource::tonic::incoming(listener);
    tokio::spawn(server.serve_with_incoming(incoming));
    for (certificate, status) in [(Some("client"), "0"), (Some("other"), "16"), (None, "16")] {
        let response = grpc(address, certificate).await;
        let headers = response.headers();
        assert_eq!(headers["grpc-status"], status);
        assert_eq!(headers.contains_key("www-authenticate"), status == "16");
        assert_eq!(headers.contains_key("caller"), status == "0");
    }
}

struct ReadOrders;

impl Role for ReadOrders {
    const NAME: &'static str = "Orders.Read.All";
}

struct Admin;

impl Role for Admin {
    const NAME: &'static str = "Admin";
}

fn serve(listener: MtlsListener) -> SocketAddr {
    serve_with(listener, verifier())
}

fn serve_with(listener: MtlsListener, verifier: Verifier) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let protected = Router::new()
        .route(
            "/orders",
            get(async |caller: Authenticated| caller.client().to_owned()),
        )
        .route("/read", get(async |_: RequireRole<ReadOrders>| "orders"))
        .route("/admin", get(async |_: RequireRole<Admin>| "admin"))
        .layer(MtlsPopLayer::new(verifier, ConnectionPeer::new()));
    let app = protected.route("/open", get(async |_: Authenticated| "open"));
    let app = app.into_make_service_with_connect_info::<Peer>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn rustls_listener() -> MtlsListener {
    let leaf = server_leaf();
    let provider = rustls::crypto::ring::default_provider();
    let any = AnyClientCertificate::new(&provider);
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(any)
        .with_single_cert(vec![der(leaf)], key(leaf))
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    MtlsListener::new(tcp, RustlsServer::new(Arc::new(config))).unwrap()
}

async fn openssl_listener() -> MtlsListener {
    openssl_listener_for(b"\x08http/1.1").await.0
}

async fn openssl_listener_for(protocol: &'static [u8]) -> (MtlsListener, SocketAddr) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let server = OpensslServer::new(openssl_context(protocol)).unwrap();
    (MtlsListener::new(tcp, server).unwrap(), address)
}

fn openssl_context(protocol: &'static [u8]) -> SslContext {
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_certificate(&server_leaf().certificate).unwrap();
    context.set_private_key(&server_leaf().key).unwrap();
    context.set_alpn_select_callback(move |_, offered| {
        openssl::ssl::select_next_proto(protocol, offered).ok_or(openssl::ssl::AlpnError::NOACK)
    });
    request_any_client_certificate(&mut context).unwrap();
    context.build()
}

/// A connection that presents a certificate of the issuer.
async fn connect(
    address: SocketAddr,
    certificate: Option<&str>,
    version: SslVersion,
) -> Option<SslStream<TcpStream>> {
    connect_for(address, certificate, version, b"\x08http/1.1").await
}

async fn connect_for(
    address: SocketAddr,
    certificate: Option<&str>,
    version: SslVersion,
    protocol: &[u8],
) -> Option<SslStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await.unwrap();
    handshake(tcp, certificate, version, protocol).await
}

async fn handshake(
    tcp: TcpStream,
    certificate: Option<&str>,
    version: SslVersion,
    protocol: &[u8],
) -> Option<SslStream<TcpStream>> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    // The server's certificate is not the concern of these tests.
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_min_proto_version(Some(version)).unwrap();
    connector.set_max_proto_version(Some(version)).unwrap();
    connector.set_alpn_protos(protocol).unwrap();
    if let Some(name) = certificate {
        let leaf = issuer().certificates.leaf(name);
        connector.set_certificate(&leaf.certificate).unwrap();
        connector.set_private_key(&leaf.key).unwrap();
    }
    let ssl = connector.build().configure().unwrap();
    let ssl = ssl.into_ssl("localhost").unwrap();
    let mut stream = SslStream::new(ssl, tcp).unwrap();
    Pin::new(&mut stream).connect().await.ok()?;
    Some(stream)
}

/// The response of a client that presents a certificate and signs with any key.
async fn connect_rustls(
    address: SocketAddr,
    versions: &[&'static rustls::SupportedProtocolVersion],
    certificate: &Leaf,
    signer: &Leaf,
) -> Option<String> {
    let provider = rustls::crypto::ring::default_provider();
    let signing = rustls::crypto::ring::sign::any_supported_type(&key(signer)).unwrap();
    let certified = CertifiedKey::new(vec![der(certificate)], signing);
    let mut roots = rustls::RootCertStore::empty();
    let root = authority().certificate().to_der().unwrap();
    roots.add(CertificateDer::from(root)).unwrap();
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(resolver));
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, tcp).await.ok()?;
    let text = request_text("/orders", Some(token()));
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    Some(String::from_utf8(response).unwrap())
}

/// The status and the body of the response.
async fn request(stream: SslStream<TcpStream>, path: &str, token: Option<&str>) -> (u16, String) {
    let (head, body) = exchange(stream, path, token).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status == 401 {
        assert!(head.contains("www-authenticate: mtls_pop"), "{head}");
    }
    (status, body)
}

/// The head and the body of the response.
async fn exchange(
    mut stream: SslStream<TcpStream>,
    path: &str,
    token: Option<&str>,
) -> (String, String) {
    let text = request_text(path, token);
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let response = String::from_utf8(response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn request_text(path: &str, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization: mtls_pop {token}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}\r\n",
        authorization.unwrap_or_default()
    )
}

async fn grpc(address: SocketAddr, certificate: Option<&str>) -> Response<hyper::body::Incoming> {
    let stream = connect_for(address, certificate, SslVersion::TLS1_3, b"\x02h2").await;
    let io = TokioIo::new(stream.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("https://localhost/{}/List", Orders::NAME))
        .header("content-type", "application/grpc")
        .header("authorization", format!("mtls_pop {}", token()))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    assert_eq!(parts.status, 200);
    Response::from_parts(parts, body)
}

fn verifier() -> Verifier {
    let keys = issuer().key_set().to_string();
    Verifier::builder()
        .audience(RESOURCE)
        .tenant(Guid::parse(TENANT).unwrap())
        .keys(Keys::fixed(KeySet::parse(keys.as_bytes()).unwrap()))
        .build()
        .unwrap()
}

fn token() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| made("{}"));
    &TOKEN
}

fn made(recipe: &str) -> String {
    let recipe: TokenRecipe = serde_json::from_str(recipe).unwrap();
    recipe.make(issuer())
}

/// With the time of the system: TLS libraries have no fake clock.
fn issuer() -> &'static TestIssuer {
    static ISSUER: LazyLock<TestIssuer> =
        LazyLock::new(|| TestIssuer::new(UNIX_EPOCH + SystemClock::new().wall()));
    &ISSUER
}

fn authority() -> &'static Authority {
    static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("servers"));
    &AUTHORITY
}

fn server_leaf() -> &'static Leaf {
    static LEAF: LazyLock<Leaf> = LazyLock::new(|| authority().server("localhost"));
    &LEAF
}

fn der(leaf: &Leaf) -> CertificateDer<'static> {
    leaf.certificate.to_der().unwrap().into()
}

fn key(leaf: &Leaf) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(leaf.key.private_key_to_pkcs8().unwrap().into())
}
