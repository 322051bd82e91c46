//! Servers on loopback that run a script on each connection, on the test's runtime.
use crate::http1::ReceivedRequest;
use openssl::ssl::{Ssl, SslContext};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

/// A TLS connection of a server.
pub type Tls = SslStream<TcpStream>;
/// The requests that a script logs.
pub type RequestLog = Arc<Mutex<Vec<ReceivedRequest>>>;

/// A running server, and what it received. It stops when dropped.
#[non_exhaustive]
pub struct Server {
    /// Its address.
    pub address: SocketAddr,
    /// The host of its [URIs](Self::uri): `localhost`, until a test changes it.
    pub host: String,
    connections: Arc<AtomicUsize>,
    /// The requests that its script logged.
    pub requests: RequestLog,
    task: JoinHandle<()>,
}

impl Server {
    /// The URI of a path, with the scheme `https`.
    pub fn uri(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.host, self.address.port())
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many requests its script logged.
    pub fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server that runs a script on each TCP connection. The script receives the number of the connection, from 0.
pub async fn tcp_server<F, R>(script: F) -> Server
where
    F: Fn(TcpStream, usize, RequestLog) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let requests = RequestLog::default();
    let (count, log) = (Arc::clone(&connections), Arc::clone(&requests));
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Otherwise the response waits until the client has acknowledged the session tickets of TLS 1.3.
            stream.set_nodelay(true).unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(script(stream, number, Arc::clone(&log)));
        }
    });
    Server {
        address,
        host: "localhost".into(),
        connections,
        requests,
        task,
    }
}

/// A server that runs a script on each connection after the TLS handshake.
pub async fn tls_server<F, R>(context: SslContext, script: F) -> Server
where
    F: Fn(Tls, usize, RequestLog) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    tcp_server(move |stream, number, log| {
        let (context, script) = (context.clone(), script.clone());
        async move {
            if let Some(stream) = handshake(&context, stream).await {
                script(stream, number, log).await;
            }
        }
    })
    .await
}

/// Performs the handshake of a server; `None` where it fails.
pub async fn handshake(context: &SslContext, stream: TcpStream) -> Option<Tls> {
    let mut stream = SslStream::new(Ssl::new(context).unwrap(), stream).unwrap();
    Pin::new(&mut stream).accept().await.ok()?;
    Some(stream)
}
