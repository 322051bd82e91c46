//! An application behind a web server, which logs all requests by their header `x-id`.
use keybound_testing::http1::{ReceivedRequest, read_request, write_response};
use keybound_testing::server::{Server, tcp_server};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::BufReader;
use tokio::net::TcpStream;

/// The requests with one id.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    pub count: usize,
    /// The web server's result for the certificate of each: `SUCCESS someone`.
    pub certificates: Vec<String>,
}

pub type RequestLog = HashMap<String, Arrivals>;

/// A running application. It stops when dropped.
pub struct Application {
    server: Server,
    request_log: Arc<Mutex<RequestLog>>,
}

impl Application {
    /// Starts an application that returns the length of the body and the web server's result for the certificate.
    pub async fn start() -> Self {
        let request_log = Arc::<Mutex<RequestLog>>::default();
        let log = Arc::clone(&request_log);
        Self {
            server: tcp_server(move |stream, _, _| serve(stream, Arc::clone(&log))).await,
            request_log,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn request_log(&self) -> MutexGuard<'_, RequestLog> {
        self.request_log.lock().unwrap()
    }
}

async fn serve(stream: TcpStream, request_log: Arc<Mutex<RequestLog>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await {
        let certificate = certificate(&request);
        if let Some(id) = request.header("x-id") {
            let mut request_log = request_log.lock().unwrap();
            let arrivals = request_log.entry(id.to_owned()).or_default();
            arrivals.count += 1;
            arrivals.certificates.push(certificate.clone());
        }
        let body = format!("{} {certificate}", request.body);
        if write_response(&mut stream, "200 OK", &body).await.is_none() {
            break;
        }
    }
}

fn certificate(request: &ReceivedRequest) -> String {
    let output = |name| request.header(name).unwrap_or("?").to_owned();
    format!("{} {}", output("x-verify"), output("x-subject"))
}
