//! Junk tokens on sixteen connections, beside valid ones, in the protocols of nginx and Envoy.
//!
//! With `KEYBOUND_LONG_TESTS=1` there are 100,000 of them, and the rate of the valid requests is measured:
//! `KEYBOUND_LONG_TESTS=1 cargo test --release --package keybound-verify --test daemon flood -- --nocapture`
use crate::fixture::{Fixture, connect_unix, get, status, subrequest_with, table};
use crate::rolling_issuer::{FETCH_INTERVAL, RollingIssuer};
use crate::support::envoy::{answer, check, connect_http2};
use bytes::Bytes;
use http_body_util::{Empty, Full};
use hyper::client::conn::{http1, http2};
use keybound_testing::attacks::KEY_IDS;
use keybound_testing::flood::{Connection, Flood, Kinds};
use keybound_verify::messages::{
    AttributeContext, CheckRequest, HeaderMap, HeaderValue, HttpRequest, HttpResponse, Peer,
    Request,
};
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn flood_of_junk_tokens_by_http_costs_no_memory_and_one_fetch() {
    let connect = |socket: PathBuf| async move { Nginx(connect_unix(&socket).await) };
    flood("nginx", connect);
}

#[test]
fn flood_of_junk_tokens_by_grpc_costs_no_memory_and_one_fetch() {
    let connect = |socket: PathBuf| async move { Envoy(connect_http2(&socket).await.0) };
    flood("envoy", connect);
}

fn flood<F>(engine: &str, connect: impl Fn(PathBuf) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output: Connection> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let fixture = Fixture::of(engine);
        let issuer = RollingIssuer::default();
        issuer.publish(&KEY_IDS);
        let daemon = issuer.start(&fixture).await;
        assert_eq!(issuer.fetches(), 4, "two documents of two versions");
        for kinds in [Kinds::All, Kinds::Expensive] {
            let (connect, socket) = (connect.clone(), fixture.socket());
            let connect = move || connect(socket.clone());
            let flood = Flood::new(&table().issuer, kinds, connect);
            assert_eq!(flood.send_valid().await, 200);
            // An unknown key causes a fetch of its issuer's documents at most every five minutes.
            issuer.advance(FETCH_INTERVAL);
            flood.send(10).await;
            let after = memory(&fixture).await;
            match is_long() {
                true => measure(engine, kinds, &flood).await,
                false => flood.send(10).await,
            }
            assert_eq!(memory(&fixture).await, after);
            assert_eq!(issuer.fetches(), 4 + 2);
        }
        daemon.stop(Duration::ZERO).await;
    });
}

#[expect(clippy::print_stdout, reason = "the figures are the result")]
async fn measure<C, F>(engine: &str, kinds: Kinds, flood: &Flood<C>)
where
    C: Fn() -> F + Send + Sync + 'static,
    F: Future<Output: Connection> + Send + 'static,
{
    let rates = flood.measure(100_000).await;
    println!("{engine}, {kinds:?}: {rates}");
    rates.assert_hold();
}

/// The memory of the cache, and the names of the counters: what could grow.
async fn memory(fixture: &Fixture) -> Vec<String> {
    let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
    let lines = metrics.lines().map(|line| match line.rsplit_once(' ') {
        Some((name, _)) if !name.starts_with("keybound_verify_cache_bytes") => name.to_owned(),
        _ => line.to_owned(),
    });
    lines.collect()
}

/// A connection of nginx.
struct Nginx(http1::SendRequest<Empty<Bytes>>);

impl Connection for Nginx {
    async fn send(&mut self, authorization: &str) -> u16 {
        let request = subrequest_with(authorization);
        let (status, response) = status(&mut self.0, request).await;
        // nginx knows two of them only.
        let header = response.headers().get("x-keybound-status");
        header.map_or(status, |value| value.to_str().unwrap().parse().unwrap())
    }
}

/// A connection of Envoy.
struct Envoy(http2::SendRequest<Full<Bytes>>);

impl Connection for Envoy {
    async fn send(&mut self, authorization: &str) -> u16 {
        self.0.ready().await.unwrap();
        let response = self.0.send_request(check(&message(authorization))).await;
        let answer = answer(response.unwrap()).await;
        match answer.http_response.unwrap() {
            HttpResponse::Ok(_) => 200,
            HttpResponse::Denied(denied) => denied.status.unwrap().code.try_into().unwrap(),
        }
    }
}

/// With the certificate to which the valid token is bound.
fn message(authorization: &str) -> CheckRequest {
    let certificates = &table().issuer.certificates;
    let pem = certificates.url_encoded_pem(&certificates.der("client").unwrap());
    let header = HeaderValue {
        key: "authorization".into(),
        value: Bytes::new(),
        raw_value: authorization.to_owned().into(),
    };
    let http = HttpRequest {
        method: "GET".into(),
        path: "/orders".into(),
        host: "orders.contoso.com".into(),
        header_map: Some(HeaderMap {
            headers: vec![header],
        }),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                certificate: pem.into(),
            }),
            request: Some(Request { http: Some(http) }),
        }),
    }
}

fn is_long() -> bool {
    std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1")
}
