//! Calls over TLS stacks of the caller's own, set up by a binding.
use crate::world::{GRAPH, VAULT, World, software};
use keybound::tls::rustls::crypto::ring;
use keybound::tls::rustls::pki_types::ServerName;
use keybound::{AccessToken, Binding, KeyRequirements, KeyStrength, TokenRequest};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

async fn token(world: &World, resource: &str) -> AccessToken {
    let request = TokenRequest::pop(resource, KeyRequirements::attested());
    // A client of its own has a certificate of its own.
    world.client().acquire_token(&request).await.unwrap()
}

async fn tcp(url: &Url) -> TcpStream {
    let host = url.host_str().unwrap();
    let port = url.port().unwrap();
    TcpStream::connect((host, port)).await.unwrap()
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

/// The status line of the answer to a GET with a token, and whatever came until the server closed.
async fn get<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    url: &Url,
    token: &AccessToken,
) -> io::Result<String> {
    let target = &url[url::Position::BeforePath..];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let authorization = token.authorization();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\n\
         x-ms-tokenboundauth: true\r\nConnection: close\r\n\r\n",
        authorization.expose()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn an_openssl_stack_reaches_the_vault_and_graph() {
    let world = World::new();
    for (resource, url) in [(VAULT, world.secret_url()), (GRAPH, world.graph_url())] {
        let url = Url::parse(&url).unwrap();
        let token = token(&world, resource).await;
        let stream = openssl(token.binding().unwrap(), &url).await;
        let answer = get(stream, &url, &token).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn a_rustls_stack_reaches_graph() {
    let world = World::new();
    let url = Url::parse(&world.graph_url()).unwrap();
    let token = token(&world, GRAPH).await;
    let stream = rustls(token.binding().unwrap(), &url).await;
    let answer = get(stream, &url, &token).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn stacks_of_ones_own_take_a_key_of_the_platform() {
    let world = World::lenient();
    let client = world.builder_for_platform().build().unwrap();
    let url = Url::parse(&world.secret_url()).unwrap();
    let token = client.acquire_token(&software()).await.unwrap();
    let stream = openssl(token.binding().unwrap(), &url).await;
    let answer = get(stream, &url, &token).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let url = Url::parse(&world.graph_url()).unwrap();
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let request = TokenRequest::pop(GRAPH, requirements);
    let token = client.acquire_token(&request).await.unwrap();
    let stream = rustls(token.binding().unwrap(), &url).await;
    let answer = get(stream, &url, &token).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn no_stale_pairing_on_a_stack_of_ones_own() {
    let world = World::new();
    let url = Url::parse(&world.graph_url()).unwrap();
    let (old, new) = (token(&world, GRAPH).await, token(&world, GRAPH).await);
    let (old_binding, new_binding) = (old.binding().unwrap(), new.binding().unwrap());
    assert_ne!(
        old_binding.certificate().thumbprints().x5t_s256,
        new_binding.certificate().thumbprints().x5t_s256
    );
    // Nothing here keeps a caller from mixing them up: the resource refuses what does not belong together.
    for binding in [old_binding, new_binding] {
        let mixed = if Arc::ptr_eq(binding, old_binding) {
            &new
        } else {
            &old
        };
        for answer in [
            get(rustls(binding, &url).await, &url, mixed).await,
            get(openssl(binding, &url).await, &url, mixed).await,
        ] {
            let answer = answer.unwrap();
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        }
    }
}

#[tokio::test]
async fn secrets_stay_secret_in_what_sets_up_stacks() {
    let world = World::new();
    let token = token(&world, GRAPH).await;
    let binding = token.binding().unwrap();
    let shown = format!(
        "{:?} {:?} {:?}",
        binding.openssl().unwrap(),
        binding.rustls(),
        binding.rustls().client_cert_resolver()
    );
    assert!(!shown.contains("PRIVATE") && !shown.contains(token.secret().expose()));
}
