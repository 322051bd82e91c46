//! An application behind a web server: it keeps a ledger of every request that arrives, by the request's `x-id`.
use crate::support::http::{Received, receive, reply};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What arrived under one id.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    pub count: usize,
    /// What the server in front says of the certificate each time: `SUCCESS someone`.
    pub certificates: Vec<String>,
}

pub type Ledger = HashMap<String, Arrivals>;

/// A running application. It ends with the value.
pub struct Application {
    pub address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
    task: JoinHandle<()>,
}

impl Application {
    /// Answers the length of the body, and what the server in front says of the certificate.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Arc::<Mutex<Ledger>>::default();
        let books = Arc::clone(&ledger);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream, Arc::clone(&books)));
            }
        });
        Self {
            address,
            ledger,
            task,
        }
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, ledger: Arc<Mutex<Ledger>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = receive(&mut stream).await {
        let certificate = certificate(&request);
        if let Some(id) = request.header("x-id") {
            let mut ledger = ledger.lock().unwrap();
            let arrivals = ledger.entry(id.to_owned()).or_default();
            arrivals.count += 1;
            arrivals.certificates.push(certificate.clone());
        }
        let body = format!("{} {certificate}", request.body);
        if reply(&mut stream, "200 OK", &body).await.is_none() {
            break;
        }
    }
}

fn certificate(request: &Received) -> String {
    let said = |name| request.header(name).unwrap_or("?").to_owned();
    format!("{} {}", said("x-verify"), said("x-subject"))
}
