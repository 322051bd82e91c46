//! Concurrent requests, each with an id, and the comparison of their results with the requests that arrived.
use crate::application::RequestLog;
use crate::support::{TEST_TIMEOUT, request};
use http::HeaderValue;
use keybound_transport::{HttpsClient, RequestBody, TransportErrorKind};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Workers that send requests sequentially: in turn a POST of a kilobyte, a GET, and a POST without a body.
#[derive(Clone)]
pub struct Load {
    pub client: HttpsClient,
    pub uri: String,
    pub workers: usize,
    pub each: usize,
    /// The pause of a worker between its requests, in milliseconds.
    pub pause: fn(usize) -> u64,
    /// The number of completed requests.
    pub done: Arc<AtomicUsize>,
    /// Whether the server is being interrupted.
    pub is_interrupted: Arc<AtomicBool>,
}

/// The result of a request.
#[derive(Debug)]
pub enum Outcome {
    Answered { status: u16, retried: bool },
    Failed(TransportErrorKind, String),
}

/// The results by id.
pub struct Outcomes(HashMap<String, (&'static str, Outcome)>);

/// The counts of a load without lost, duplicate or unauthenticated requests.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    pub answered: usize,
    pub retried: usize,
    /// Requests that failed without a response, by method and kind.
    pub failed: BTreeMap<String, usize>,
    /// The number of those that had arrived.
    pub failed_and_arrived: usize,
}

impl Load {
    pub fn new(client: &HttpsClient, uri: String, each: usize) -> Self {
        Self {
            client: client.clone(),
            uri,
            workers: WORKERS,
            each,
            pause: |_| 0,
            done: Arc::default(),
            is_interrupted: Arc::default(),
        }
    }

    pub async fn run(self) -> Outcomes {
        let mut workers = JoinSet::new();
        for worker in 0..self.workers {
            let load = self.clone();
            workers.spawn(async move { load.work(worker).await });
        }
        let all = workers.join_all().await;
        Outcomes(all.into_iter().flatten().collect())
    }

    async fn work(&self, worker: usize) -> Vec<(String, (&'static str, Outcome))> {
        let mut outcomes = vec![];
        for number in 0..self.each {
            let id = format!("{worker}-{number}");
            let (method, length) = REQUESTS[number % REQUESTS.len()];
            let outcome = self.send(&id, method, length).await;
            self.done.fetch_add(1, Ordering::Relaxed);
            let pause = Duration::from_millis((self.pause)(worker + number));
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            if let Outcome::Failed(TransportErrorKind::Connect, _) = &outcome {
                self.wait_for_server().await;
            }
            outcomes.push((id, (method, outcome)));
        }
        outcomes
    }

    /// Otherwise all requests that are left would fail before the server has started again.
    async fn wait_for_server(&self) {
        while self.is_interrupted.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn send(&self, id: &str, method: &str, length: usize) -> Outcome {
        let mut request = request(method, &self.uri, RequestBody::full(vec![b'x'; length]));
        let id = HeaderValue::from_str(id).unwrap();
        request.headers_mut().insert("x-id", id);
        let failed = |error: keybound_transport::TransportError| {
            Outcome::Failed(error.kind(), crate::support::error_chain(&error))
        };
        let response = match self.client.send(request, TEST_TIMEOUT).await {
            Ok(response) => response,
            Err(error) => return failed(error),
        };
        let (parts, body) = response.into_parts();
        let info = body.connection().unwrap().clone();
        match body.collect(1000).await {
            Ok(body) => {
                let text = String::from_utf8_lossy(&body).into_owned();
                if parts.status == 200 {
                    assert_eq!(text, format!("{length} {BOUND}"));
                }
                Outcome::Answered {
                    status: parts.status.as_u16(),
                    retried: info.retried,
                }
            }
            Err(error) => failed(error),
        }
    }
}

impl Outcomes {
    /// Compares the results with the requests that arrived: one with a response arrived once (a retried safe one once or twice), a
    /// failed one at most once (a safe one twice), and each with the certificate.
    pub fn check(&self, request_log: &RequestLog) -> Tally {
        let mut tally = Tally::default();
        for (id, (method, outcome)) in &self.0 {
            let count = request_log.get(id).map_or(0, |arrivals| arrivals.count);
            match outcome {
                Outcome::Answered { status, retried } => {
                    assert_eq!(*status, 200, "{method} {id}");
                    let is_expected = if *retried {
                        *method == "GET" && (1..=2).contains(&count)
                    } else {
                        count == 1
                    };
                    assert!(
                        is_expected,
                        "{method} {id} arrived {count} times: {outcome:?}"
                    );
                    tally.answered += 1;
                    tally.retried += usize::from(*retried);
                }
                Outcome::Failed(kind, message) => {
                    let max = if *method == "GET" { 2 } else { 1 };
                    assert!(
                        count <= max,
                        "{method} {id} arrived {count} times: {message}"
                    );
                    if *method == "POST" && *kind == TransportErrorKind::Connect {
                        assert_eq!(count, 0, "{id} went out without a connection: {message}");
                    }
                    let row = format!("{method} {kind:?}");
                    *tally.failed.entry(row).or_default() += 1;
                    tally.failed_and_arrived += usize::from(count > 0);
                }
            }
        }
        for (id, arrivals) in request_log {
            assert!(self.0.contains_key(id), "{id} was not sent");
            for certificate in &arrivals.certificates {
                assert_eq!(certificate, BOUND, "{id} came without the certificate");
            }
        }
        tally
    }
}

impl Tally {
    /// A tally of this number of responses only.
    pub fn all(answered: usize) -> Self {
        Self {
            answered,
            ..Self::default()
        }
    }
}

/// The web servers' result for the client's certificate.
pub const BOUND: &str = "SUCCESS someone";
pub const WORKERS: usize = 8;
const REQUESTS: [(&str, usize); 3] = [("POST", 1000), ("GET", 0), ("POST", 0)];
