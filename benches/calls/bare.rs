//! The same by hand: hyper over tokio-openssl, with an ordinary key file and one connection per caller.
use crate::server::Site;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

pub struct Bare {
    callers: Vec<Arc<Mutex<Caller>>>,
}

struct Caller {
    sender: SendRequest<Empty<Bytes>>,
    authority: String,
    authorization: String,
}

impl Bare {
    pub async fn prepare(site: &Site, authorization: &str, callers: usize) -> Self {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a connector");
        connector
            .set_ca_file(site.file("servers.pem"))
            .expect("the CA");
        connector
            .set_certificate_chain_file(site.file("client.pem"))
            .expect("a certificate");
        connector
            .set_private_key_file(site.file("client.key"), SslFiletype::PEM)
            .expect("a key");
        let connector = connector.build();
        let mut all = vec![];
        for _ in 0..callers {
            all.push(Arc::new(Mutex::new(Caller {
                sender: connect(&connector, site.port).await,
                authority: format!("localhost:{}", site.port),
                authorization: authorization.to_owned(),
            })));
        }
        Self { callers: all }
    }

    /// Sends this number of GET requests per caller.
    pub async fn get(&self, each: usize) {
        if let [caller] = self.callers.as_slice() {
            return caller.lock().await.get(each).await;
        }
        let mut callers = JoinSet::new();
        for caller in &self.callers {
            let caller = Arc::clone(caller);
            callers.spawn(async move { caller.lock().await.get(each).await });
        }
        callers.join_all().await;
    }
}

impl Caller {
    async fn get(&mut self, count: usize) {
        for _ in 0..count {
            let request = Request::get("/")
                .header("host", &self.authority)
                .header("authorization", &self.authorization)
                .header("x-ms-tokenboundauth", "true")
                .body(Empty::new())
                .expect("a request");
            self.sender.ready().await.expect("a connection");
            let response = self.sender.send_request(request).await.expect("a response");
            assert_eq!(response.status(), 200);
            let body = response.into_body().collect().await.expect("a body");
            std::hint::black_box(body.to_bytes());
        }
    }
}

async fn connect(connector: &SslConnector, port: u16) -> SendRequest<Empty<Bytes>> {
    let tcp = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    tcp.set_nodelay(true).expect("an option");
    let ssl = connector
        .configure()
        .expect("settings")
        .into_ssl("localhost")
        .expect("settings");
    let mut stream = tokio_openssl::SslStream::new(ssl, tcp).expect("a stream");
    Pin::new(&mut stream).connect().await.expect("a handshake");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(async move {
        // It ends with the sender, which reports errors.
        let _ = connection.await;
    });
    sender
}
