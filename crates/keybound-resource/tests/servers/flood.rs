//! Junk tokens on sixteen connections, beside valid ones.
//!
//! With `KEYBOUND_LONG_TESTS=1` there are 100,000 of them, and the rate of the valid requests is measured:
//! `KEYBOUND_LONG_TESTS=1 cargo test --release --package keybound-resource --test servers flood -- --nocapture`
use super::{connect, issuer, made, openssl_listener, serve_with, token};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use keybound_resource::{FetchFuture, Guid, KeyFetcher, Keys, Verifier};
use keybound_testing::attacks::{RESOURCE, TENANT};
use openssl::ssl::SslVersion;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

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
    let status = Client::connect(address).await.send(&valid_header()).await;
    assert_eq!(status, StatusCode::OK);
    let cached = verifier.cached_bytes();
    if long {
        measure(address).await;
    } else {
        let valid = Arc::new(ValidTraffic::new(1));
        let mut sent = valid.send(address, Duration::from_millis(1));
        let traffic = Arc::clone(&valid);
        tokio::select! {
            // Until both were sent beside each other, also if one of them starts late.
            () = flood(address, move |junk| junk >= 100 && traffic.answered() >= 20) => {}
            Some(ended) = sent.join_next() => panic!("{ended:?}"),
        }
        valid.stop();
        sent.join_all().await;
    }
    assert_eq!(
        verifier.cached_bytes(),
        cached,
        "only the valid token is cached"
    );
    // An unknown key causes a fetch of its issuer's documents at most every five minutes.
    let most = if long { 4 + 2 } else { 4 };
    assert!(keys.fetches() <= most, "{}", keys.fetches());
}

/// Valid requests at a quarter of the rate that the machine is capable of, without and with the flood.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
async fn measure(address: SocketAddr) {
    let capacity = rate_for(address, Duration::ZERO, SECONDS).await;
    let pace = Duration::from_secs_f64(4.0 * CONNECTIONS as f64 / capacity);
    let alone = rate_for(address, pace, SECONDS).await;
    // The first part fills the buffers of both sides.
    let (beside, _) = rate_beside_flood(address, pace, 20_000).await;
    let memory = resident_bytes();
    let (rate, junk) = rate_beside_flood(address, pace, 100_000).await;
    let beside = beside.min(rate);
    let grown = resident_bytes().saturating_sub(memory);
    println!(
        "valid requests: {capacity:.0}/s at most, {alone:.0}/s alone, {beside:.0}/s beside {junk:.0}/s with junk; {grown} bytes more"
    );
    assert!(beside >= 0.5 * alone, "{beside} of {alone}");
    assert!(grown < 8 << 20, "{grown} bytes");
}

/// The rates of valid requests and of junk.
async fn rate_beside_flood(address: SocketAddr, pace: Duration, junk: usize) -> (f64, f64) {
    let valid = Arc::new(ValidTraffic::new(CONNECTIONS));
    let started = Instant::now();
    let sent = valid.send(address, pace);
    flood(address, move |sent| sent >= junk / CONNECTIONS).await;
    valid.stop();
    sent.join_all().await;
    let seconds = started.elapsed().as_secs_f64();
    (valid.answered() as f64 / seconds, junk as f64 / seconds)
}

async fn rate_for(address: SocketAddr, pace: Duration, seconds: u64) -> f64 {
    let valid = Arc::new(ValidTraffic::new(CONNECTIONS));
    let sent = valid.send(address, pace);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    valid.stop();
    sent.join_all().await;
    valid.answered() as f64 / seconds as f64
}

/// Requests with a valid token, each on its own connection.
struct ValidTraffic {
    connections: usize,
    answered: AtomicU64,
    stop: AtomicBool,
}

impl ValidTraffic {
    fn new(connections: usize) -> Self {
        Self {
            connections,
            answered: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// The tasks end after `stop`, or panic when a request does not succeed.
    fn send(self: &Arc<Self>, address: SocketAddr, pace: Duration) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..self.connections {
            let traffic = Arc::clone(self);
            tasks.spawn(async move {
                let mut client = Client::connect(address).await;
                let mut ticks = (!pace.is_zero()).then(|| interval(pace));
                if let Some(ticks) = &mut ticks {
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                }
                loop {
                    if let Some(ticks) = &mut ticks {
                        ticks.tick().await;
                    }
                    let status = client.send(&valid_header()).await;
                    assert_eq!(status, StatusCode::OK);
                    traffic.answered.fetch_add(1, Ordering::Relaxed);
                    if traffic.stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        tasks
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends junk tokens on each of the connections, as fast as they are refused, until the number that one has sent is enough.
async fn flood<F>(address: SocketAddr, is_enough: F)
where
    F: Fn(usize) -> bool + Clone + Send + 'static,
{
    let junk = Arc::new(junk());
    let mut tasks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (junk, is_enough) = (Arc::clone(&junk), is_enough.clone());
        tasks.spawn(async move {
            let mut client = Client::connect(address).await;
            let mut number = 0;
            while !is_enough(number) {
                let (name, authorization) = &junk[(connection + number) % junk.len()];
                // Each request has another one.
                let authorization =
                    authorization.replace("NUMBER", &format!("{connection}-{number}"));
                let status = client.send(&authorization).await.as_u16();
                assert!(matches!(status, 400 | 401), "{name}: {status}");
                number += 1;
            }
        });
    }
    tasks.join_all().await;
}

/// From cheap to expensive: the last ones are verified up to the signature.
fn junk() -> Vec<(&'static str, String)> {
    let valid = token();
    let (rest, signature) = valid.rsplit_once('.').unwrap();
    let (_, claims) = rest.split_once('.').unwrap();
    let pop = |token: &str| format!("mtls_pop {token}");
    let unknown = encode(&json!({ "alg": "RS256", "kid": "KEY" }).to_string());
    vec![
        ("no token", pop("NUMBER")),
        ("other scheme", "Basic NUMBER".to_owned()),
        ("long", pop(&format!("{}.NUMBER.x", "A".repeat(16_000)))),
        (
            "unknown key",
            pop(&format!("{unknown}.{claims}.{signature}")),
        ),
        ("other certificate", pop(&made(r#"{"bound_to":"other"}"#))),
        (
            "other signature",
            pop(&format!("{rest}.{}AA", &signature[..signature.len() - 2])),
        ),
        (
            "many claims",
            pop(&format!(
                "{}.{}.{signature}",
                encode(r#"{"alg":"RS256","kid":"any"}"#),
                encode(&many_claims())
            )),
        ),
        ("expired", pop(&made(r#"{"claims":{"exp":{"now":-3600}}}"#))),
        (
            "other audience",
            pop(&made(r#"{"claims":{"aud":"api://other"}}"#)),
        ),
    ]
}

/// As many as a token may have.
fn many_claims() -> String {
    let claims: Vec<String> = (0..128)
        .map(|number| format!(r#""claim{number}":1"#))
        .collect();
    format!("{{{}}}", claims.join(","))
}

fn valid_header() -> String {
    format!("mtls_pop {}", token())
}

fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
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

    async fn send(&mut self, authorization: &str) -> StatusCode {
        let request = Request::get("/orders")
            .header("host", "localhost")
            .header("authorization", authorization)
            .body(Empty::new())
            .unwrap();
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        let status = response.status();
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
        let document = match url.strip_suffix("/.well-known/openid-configuration") {
            None => issuer().key_set(),
            Some(base) => {
                let v1 = format!("https://sts.windows.net/{TENANT}/");
                let issuer = if base.ends_with("/v2.0") { base } else { &v1 };
                json!({ "issuer": issuer, "jwks_uri": format!("{base}/keys") })
            }
        };
        Box::pin(async move { Ok(document.to_string().into_bytes()) })
    }
}

/// The memory of this process. 0 where it is not known.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

const CONNECTIONS: usize = 16;
const SECONDS: u64 = 3;
