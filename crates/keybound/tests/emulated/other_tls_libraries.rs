//! Calls over other TLS libraries, configured by a binding.
use keybound::tls::rustls::crypto::ring;
use keybound::tls::rustls::pki_types::ServerName;
use keybound::{AccessToken, Binding, KeyRequirements, KeyStrength, TokenRequest};
use keybound_testing::emulated::{GRAPH, TestHost, VAULT, software};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

async fn token(host: &TestHost, resource: &str) -> AccessToken {
    let request = TokenRequest::pop(resource, KeyRequirements::attested());
    // Each client has its own certificate.
    host.client().acquire_token(&request).await.unwrap()
}

async fn tcp(url: &Url) -> TcpStream {
    let name = url.host_str().unwrap();
    let port = url.port().unwrap();
    TcpStream::connect((name, port)).await.unwrap()
}

async fn openssl(binding: &Binding, url: &Url) -> SslStream<TcpStream> {
    let ssl = binding.openssl().unwrap();
    let ssl = ssl.ssl(url.host_str().unwrap()).unwrap();
    let mut stream = SslStream::new(ssl, tcp(url).await).unwrap();
    Pin::new(&mut stream).connect().await.unwrap();
    stream
}

async fn rustls(binding: &Binding, url: &Url) -> TlsStream<TcpStream> {
    let config = binding.rustls().client_config(ring::default_provider());
    let name = ServerName::try_from(url.host_str().unwrap().to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config.unwrap()));
    connector.connect(name, tcp(url).await).await.unwrap()
}

/// Sends a GET with a token and returns the whole response, up to the end of the connection.
async fn get<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    url: &Url,
    token: &AccessToken,
) -> io::Result<String> {
    let target = &url[url::Position::BeforePath..];
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let authorization = token.authorization();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: {}\r\n\
         x-ms-tokenboundauth: true\r\nConnection: close\r\n\r\n",
        authorization.expose()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(String::from_utf8(response).unwrap())
}

#[tokio::test]
async fn openssl_calls_vault_and_graph() {
    let host = TestHost::new();
    for (resource, url) in [(VAULT, host.secret_url()), (GRAPH, host.graph_url())] {
        let url = Url::parse(&url).unwrap();
        let token = token(&host, resource).await;
        let stream = openssl(token.binding().unwrap(), &url).await;
        let response = get(stream, &url, &token).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
}

#[tokio::test]
async fn rustls_calls_graph() {
    let host = TestHost::new();
    let url = Url::parse(&host.graph_url()).unwrap();
    let token = token(&host, GRAPH).await;
    let stream = rustls(token.binding().unwrap(), &url).await;
    let response = get(stream, &url, &token).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn openssl_and_rustls_use_a_platform_key() {
    let host = TestHost::lenient();
    let client = host.builder_for_platform().build().unwrap();
    let url = Url::parse(&host.secret_url()).unwrap();
    let token = client.acquire_token(&software()).await.unwrap();
    let stream = openssl(token.binding().unwrap(), &url).await;
    let response = get(stream, &url, &token).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");

    let url = Url::parse(&host.graph_url()).unwrap();
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let request = TokenRequest::pop(GRAPH, requirements);
    let token = client.acquire_token(&request).await.unwrap();
    let stream = rustls(token.binding().unwrap(), &url).await;
    let response = get(stream, &url, &token).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn no_stale_pairing_with_other_tls_libraries() {
    let host = TestHost::new();
    let url = Url::parse(&host.graph_url()).unwrap();
    let (old, new) = (token(&host, GRAPH).await, token(&host, GRAPH).await);
    let (old_binding, new_binding) = (old.binding().unwrap(), new.binding().unwrap());
    assert_ne!(
        old_binding.certificate().thumbprints().x5t_s256,
        new_binding.certificate().thumbprints().x5t_s256
    );
    // Nothing prevents a caller from mixing them; the resource rejects the request.
    for binding in [old_binding, new_binding] {
        let mixed = if Arc::ptr_eq(binding, old_binding) {
            &new
        } else {
            &old
        };
        for response in [
            get(rustls(binding, &url).await, &url, mixed).await,
            get(openssl(binding, &url).await, &url, mixed).await,
        ] {
            let response = response.unwrap();
            assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        }
    }
}

#[tokio::test]
async fn secrets_stay_secret_in_configurations_of_tls_libraries() {
    let host = TestHost::new();
    let token = token(&host, GRAPH).await;
    let binding = token.binding().unwrap();
    let debug = format!(
        "{:?} {:?} {:?}",
        binding.openssl().unwrap(),
        binding.rustls(),
        binding.rustls().client_cert_resolver()
    );
    assert!(!debug.contains("PRIVATE") && !debug.contains(token.secret().expose()));
}
