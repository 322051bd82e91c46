//! A client of HTTPS with a client certificate that sends requests as fast as they are answered, on several connections that it keeps
//! open.
#![expect(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "only programs of this package use them"
)]

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, Uri};
use hyper_util::rt::TokioIo;
use openssl::ssl::SslConnector;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_openssl::SslStream;

/// A request that is repeated, and how to connect for it.
pub struct Target {
    /// Of the server; it may differ from that of the URL.
    pub address: SocketAddr,
    /// What is requested; its authority is the header `Host`.
    pub url: Uri,
    /// Further headers.
    pub headers: HeaderMap,
    /// With the client certificate.
    pub connector: SslConnector,
}

/// Open connections to a target.
pub struct Load {
    target: Arc<Target>,
    connections: Vec<SendRequest<Empty<Bytes>>>,
}

/// When a load ends: on each connection after a number of requests, or for all at a time.
#[derive(Clone, Copy)]
pub enum Extent {
    /// This number of requests on each connection.
    RequestsOnEach(usize),
    /// Until this time.
    Until(Instant),
}

/// What was answered.
#[derive(Default)]
pub struct Report {
    /// The number of responses with each status.
    pub statuses: BTreeMap<u16, u64>,
    /// Sorted.
    pub latencies: Vec<Duration>,
    /// How many connections were replaced.
    pub reconnected: u64,
    /// From the first request to the last response.
    pub elapsed: Duration,
}

/// Why a load ends.
pub type LoadError = Box<dyn Error + Send + Sync>;

impl Load {
    /// Opens the connections.
    pub async fn connect(target: Target, connections: usize) -> Result<Self, LoadError> {
        let mut load = Self {
            target: Arc::new(target),
            connections: Vec::new(),
        };
        for _ in 0..connections {
            load.connections.push(load.target.connect().await?);
        }
        Ok(load)
    }

    /// Sends requests. A connection that the server closes after a response is replaced; one that ends without a response is an error.
    pub async fn send(&mut self, extent: Extent) -> Result<Report, LoadError> {
        let started = Instant::now();
        let mut sending = JoinSet::new();
        for connection in self.connections.drain(..) {
            sending.spawn(repeat(connection, Arc::clone(&self.target), extent));
        }
        let mut report = Report::default();
        while let Some(sent) = sending.join_next().await {
            let (connection, sent) = sent??;
            self.connections.push(connection);
            report.add(sent);
        }
        report.elapsed = started.elapsed();
        report.latencies.sort_unstable();
        Ok(report)
    }
}

impl Target {
    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, LoadError> {
        let address = self.address;
        let connected = TcpStream::connect(address).await;
        let tcp = connected.map_err(|error| format!("cannot connect to {address}: {error}"))?;
        tcp.set_nodelay(true)?;
        let host = self.url.host().unwrap_or_default();
        let mut stream = SslStream::new(self.connector.configure()?.into_ssl(host)?, tcp)?;
        Pin::new(&mut stream).connect().await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, LoadError> {
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path).body(Empty::new())?;
        request.headers_mut().clone_from(&self.headers);
        let host = self.url.authority().map_or("", |host| host.as_str());
        request.headers_mut().insert("host", host.parse()?);
        Ok(request)
    }
}

async fn repeat(
    mut connection: SendRequest<Empty<Bytes>>,
    target: Arc<Target>,
    extent: Extent,
) -> Result<(SendRequest<Empty<Bytes>>, Report), LoadError> {
    let mut report = Report::default();
    while match extent {
        Extent::RequestsOnEach(count) => report.latencies.len() < count,
        Extent::Until(end) => Instant::now() < end,
    } {
        if connection.ready().await.is_err() {
            connection = target.connect().await?;
            report.reconnected += 1;
        }
        let started = Instant::now();
        let response = connection.send_request(target.request()?).await?;
        let status = response.status().as_u16();
        response.into_body().collect().await?;
        report.latencies.push(started.elapsed());
        *report.statuses.entry(status).or_default() += 1;
    }
    Ok((connection, report))
}

impl Report {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.reconnected += other.reconnected;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }

    /// Responses in a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this part of the requests does not exceed.
    pub fn latency(&self, part: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let position = (last as f64 * part).round() as usize;
        self.latencies.get(position).copied().unwrap_or_default()
    }

    /// Whether all responses have this status, and there are some.
    pub fn all_are(&self, status: u16) -> bool {
        self.statuses.keys().eq([&status])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} requests/s;", self.rate())?;
        for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            write!(
                f,
                " {name} {:.0} µs",
                self.latency(part).as_secs_f64() * 1e6
            )?;
        }
        write!(f, "; {} requests:", self.latencies.len())?;
        for (status, count) in &self.statuses {
            write!(f, " {count} × {status}")?;
        }
        match self.reconnected {
            0 => Ok(()),
            count => write!(f, "; {count} connections replaced"),
        }
    }
}
