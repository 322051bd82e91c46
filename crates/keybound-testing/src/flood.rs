//! Junk tokens beside valid ones, on the connections of any server.
mod junk;
mod rates;
mod valid_traffic;

pub use junk::Kinds;
pub use rates::Rates;

use crate::attacks::TestIssuer;
use junk::Junk;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use valid_traffic::ValidTraffic;

/// A connection to the server under test, with the certificate to which the valid token is bound.
pub trait Connection: Send + 'static {
    /// The status of the response to a request with this `Authorization`.
    fn send(&mut self, authorization: &str) -> impl Future<Output = u16> + Send;
}

/// Junk tokens and valid ones for a server.
pub struct Flood<C>(Arc<Inner<C>>);

struct Inner<C> {
    connect: C,
    valid: String,
    junk: Vec<Junk>,
}

impl<C, F, S> Flood<C>
where
    C: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = S> + Send + 'static,
    S: Connection,
{
    /// With tokens of an issuer. `connect` opens a connection.
    pub fn new(issuer: &TestIssuer, kinds: Kinds, connect: C) -> Self {
        let (valid, junk) = junk::tokens(issuer, kinds);
        Self(Arc::new(Inner {
            connect,
            valid,
            junk,
        }))
    }

    /// Sends a valid token. Returns the status of the response.
    pub async fn send_valid(&self) -> u16 {
        let mut connection = (self.0.connect)().await;
        connection.send(&self.0.valid).await
    }

    /// Sends this many junk tokens or more on each of sixteen connections, beside twenty valid ones or more on another one, as fast as they
    /// are refused and accepted. All junk is refused, and all that is valid is accepted.
    pub async fn send(&self, each: usize) {
        let mut traffic = ValidTraffic::start(&self.0, 1, Duration::ZERO);
        let accepted = traffic.accepted();
        // Until both were sent beside each other, also if one of them starts late.
        let is_enough = move |junk| junk >= each && accepted.load(Ordering::Relaxed) >= 20;
        tokio::select! {
            () = self.send_junk(is_enough) => {}
            () = traffic.failed() => {}
        }
        traffic.stop().await;
    }

    /// Measures the rate of valid requests, beside and without this number of junk tokens on as many connections, at a quarter of the rate
    /// that the machine is capable of.
    pub async fn measure(&self, junk: usize) -> Rates {
        let capacity = self.rate_for(Duration::ZERO).await;
        let pace = Duration::from_secs_f64(4.0 * CONNECTIONS as f64 / capacity);
        let alone = self.rate_for(pace).await;
        // The first part fills the buffers of both sides.
        let (first, _) = self.rates_beside(junk / 5, pace).await;
        let memory = rates::resident_bytes();
        let (rate, junk) = self.rates_beside(junk, pace).await;
        Rates {
            capacity,
            alone,
            beside: first.min(rate),
            junk,
            grown: rates::resident_bytes().saturating_sub(memory),
        }
    }

    async fn rate_for(&self, pace: Duration) -> f64 {
        let traffic = ValidTraffic::start(&self.0, CONNECTIONS, pace);
        tokio::time::sleep(MEASURED).await;
        traffic.stop().await as f64 / MEASURED.as_secs_f64()
    }

    /// The rates of valid requests and of junk.
    async fn rates_beside(&self, junk: usize, pace: Duration) -> (f64, f64) {
        let started = Instant::now();
        let traffic = ValidTraffic::start(&self.0, CONNECTIONS, pace);
        self.send_junk(move |sent| sent >= junk / CONNECTIONS).await;
        let valid = traffic.stop().await;
        let seconds = started.elapsed().as_secs_f64();
        (valid as f64 / seconds, junk as f64 / seconds)
    }

    /// Until the number that a connection has sent is enough.
    async fn send_junk(&self, is_enough: impl Fn(usize) -> bool + Clone + Send + 'static) {
        let mut tasks = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let (flood, is_enough) = (Arc::clone(&self.0), is_enough.clone());
            tasks.spawn(async move {
                let mut client = (flood.connect)().await;
                let mut sent = 0;
                while !is_enough(sent) {
                    // Of no other connection.
                    let number = sent * CONNECTIONS + connection;
                    let junk = &flood.junk[number % flood.junk.len()];
                    let authorization = (junk.authorization)(number as u64);
                    let status = client.send(&authorization).await;
                    assert!(matches!(status, 400 | 401), "{}: {status}", junk.name);
                    sent += 1;
                }
            });
        }
        tasks.join_all().await;
    }
}

const CONNECTIONS: usize = 16;
/// The time of a measurement without junk.
const MEASURED: Duration = Duration::from_secs(3);
