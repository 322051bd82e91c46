//! Junk tokens on sixteen connections, beside valid ones.
//!
//! With `KEYBOUND_LONG_TESTS=1` there are 100,000 of them, and the rate of the valid requests is measured:
//! `KEYBOUND_LONG_TESTS=1 cargo test --release --package keybound-resource --test servers flood -- --nocapture`
use super::{connect, issuer, openssl_listener, serve_with};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use keybound_resource::{FetchFuture, Guid, KeyFetcher, Keys, Verifier};
use keybound_testing::attacks::{RESOURCE, TENANT, published};
use keybound_testing::flood::{Connection, Flood, Kinds};
use openssl::ssl::SslVersion;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_junk_tokens_costs_no_memory_and_one_fetch() {
    let long = std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1");
    let keys = CountedKeys::default();
    let verifier = Verifier::builder()
        .audience(RESOURCE)
        .tenant(Guid::parse(TENANT).unwrap())
        .keys(Keys::discovered(keys.clone()))
        .build()
        .unwrap();
    verifier.fetch_due_keys().await;
    assert_eq!(keys.fetches(), 4, "two documents of two versions");
    let address = serve_with(openssl_listener().await, verifier.clone());
    for kinds in [Kinds::All, Kinds::Expensive] {
        let flood = Flood::new(issuer(), kinds, move || Client::connect(address));
        assert_eq!(flood.send_valid().await, 200);
        let cached = verifier.cached_bytes();
        match long {
            true => measure(kinds, &flood).await,
            false => flood.send(40).await,
        }
        assert_eq!(
            verifier.cached_bytes(),
            cached,
            "only the valid token is cached"
        );
    }
    // An unknown key causes a fetch of its issuer's documents at most every five minutes.
    let most = if long { 4 + 2 } else { 4 };
    assert!(keys.fetches() <= most, "{}", keys.fetches());
}

#[expect(clippy::print_stdout, reason = "the figures are the result")]
async fn measure<C, F>(kinds: Kinds, flood: &Flood<C>)
where
    C: Fn() -> F + Send + Sync + 'static,
    F: Future<Output: Connection> + Send + 'static,
{
    let rates = flood.measure(100_000).await;
    println!("{kinds:?}: {rates}");
    rates.assert_hold();
}

/// A connection with the certificate of the valid token.
struct Client(SendRequest<Empty<Bytes>>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = connect(address, Some("client"), SslVersion::TLS1_3).await;
        let io = TokioIo::new(stream.unwrap());
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }
}

impl Connection for Client {
    async fn send(&mut self, authorization: &str) -> u16 {
        let request = Request::get("/orders")
            .header("host", "localhost")
            .header("authorization", authorization)
            .body(Empty::new())
            .unwrap();
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        response.into_body().collect().await.unwrap();
        status
    }
}

/// The documents of both versions, and the number of fetches.
#[derive(Clone, Default)]
struct CountedKeys(Arc<AtomicU64>);

impl CountedKeys {
    fn fetches(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl KeyFetcher for CountedKeys {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let document = published(url, &issuer().key_set());
        Box::pin(async move { Ok(document.to_string().into_bytes()) })
    }
}
