//! The time until 64 concurrent callers have the error of an endpoint that returns 404 after 50 ms, without retries.
use crate::peer;
use crate::requests;
use keybound_benches::test_host::TestHost;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Medians of the time until all callers have the error, in multiples of the time for one caller.
pub struct FailureTimes {
    ours: f64,
    theirs: f64,
}

pub async fn compare() -> FailureTimes {
    let imds = slow_404().await;
    let test_host = TestHost::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let client = test_host.client_with_imds(&imds);
        ours.push(
            ratio(move || {
                let client = client.clone();
                async move { client.acquire_token(&requests::request(0)).await.is_err() }
            })
            .await,
        );
        let credential = peer::failing(DELAY);
        theirs.push(
            ratio(move || {
                let credential = credential.clone();
                async move {
                    credential
                        .get_token(&[&requests::scope(0)], None)
                        .await
                        .is_err()
                }
            })
            .await,
        );
    }
    FailureTimes {
        ours: median(ours),
        theirs: median(theirs),
    }
}

impl FailureTimes {
    pub fn holds(&self) -> bool {
        self.ours <= BOUND
    }
}

impl fmt::Display for FailureTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{CALLERS} callers on a 404 after {} ms      all have the error after {:.2} responses, bound {BOUND}: {}; azure_identity {:.1}",
            DELAY.as_millis(),
            self.ours,
            if self.holds() { "within" } else { "EXCEEDED" },
            self.theirs,
        )
    }
}

/// The time until all callers have the error, divided by that of a single caller.
async fn ratio<T: Future<Output = bool> + Send + 'static>(call: impl Fn() -> T) -> f64 {
    let one = timed(&call, 1).await;
    timed(&call, CALLERS).await / one
}

async fn timed<T: Future<Output = bool> + Send + 'static>(
    call: &impl Fn() -> T,
    callers: usize,
) -> f64 {
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..callers {
        calls.spawn(call());
    }
    assert!(calls.join_all().await.into_iter().all(|failed| failed));
    started.elapsed().as_secs_f64()
}

/// Starts the endpoint.
async fn slow_404() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(respond(connection));
        }
    });
    format!("http://{address}")
}

async fn respond(mut connection: TcpStream) {
    let mut head = [0; 4096];
    let read = connection.read(&mut head).await.expect("a request");
    assert!(
        head[..read].ends_with(b"\r\n\r\n"),
        "the complete head in one read"
    );
    tokio::time::sleep(DELAY).await;
    let written = connection.write_all(RESPONSE).await;
    written.expect("an open connection");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const ROUNDS: usize = 5;
const CALLERS: usize = 64;
const DELAY: Duration = Duration::from_millis(50);
const BOUND: f64 = 1.5;
const RESPONSE: &[u8] =
    b"HTTP/1.1 404 Not Found\r\nserver: IMDS/150.0\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
