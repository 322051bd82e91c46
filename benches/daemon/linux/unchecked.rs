//! A server with the settings of the daemon that answers every request as the daemon answers a valid one.
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keybound_benches::server_thread::ServerThread;
use std::convert::Infallible;
use std::fs;
use std::future::ready;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixListener;

/// What the daemon answers to a valid request.
#[derive(Clone)]
pub struct Answer {
    pub headers: HeaderMap,
    /// Of gRPC.
    pub body: Bytes,
}

impl Answer {
    /// Without those that hyper adds.
    pub fn new(mut headers: HeaderMap, body: Bytes) -> Self {
        headers.remove("date");
        headers.remove("content-length");
        Self { headers, body }
    }

    /// Writes it for another process.
    pub fn write(&self, folder: &Path) {
        let headers = self.headers.iter();
        let lines = headers.map(|(name, value)| format!("{name}:{}\n", value.to_str().unwrap()));
        fs::write(folder.join("headers"), lines.collect::<String>()).unwrap();
        fs::write(folder.join("body"), &self.body).unwrap();
    }

    pub fn read(folder: &Path) -> Self {
        let headers = fs::read_to_string(folder.join("headers")).unwrap();
        let headers = headers.lines().map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.parse().unwrap(), value.parse().unwrap())
        });
        Self {
            headers: headers.collect::<HeaderMap>(),
            body: fs::read(folder.join("body")).unwrap().into(),
        }
    }

    fn http(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        response.headers_mut().clone_from(&self.headers);
        response
    }

    fn grpc(&self) -> Response<impl Body<Data = Bytes, Error = Infallible> + use<>> {
        let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
        let message = Full::new(self.body.clone());
        let mut response = Response::new(message.with_trailers(ready(Some(Ok(trailers)))));
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

/// Starts the server beside the daemon for a proxy.
pub fn start(folder: &Path, engine: &str, answer: Answer) -> ServerThread {
    let socket = folder.join(format!("unchecked-{engine}"));
    let listener = socket.clone();
    let is_grpc = engine == "envoy";
    ServerThread::start(socket, async move {
        let listener = UnixListener::bind(listener).unwrap();
        tokio::spawn(serve(listener, is_grpc, answer));
        Box::new(())
    })
}

async fn serve(listener: UnixListener, is_grpc: bool, answer: Answer) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = TokioIo::new(stream);
        let answer = answer.clone();
        if is_grpc {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer.grpc();
                async {
                    let message = request.into_body().collect().await.unwrap().to_bytes();
                    assert!(message.len() > 5);
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(Duration::from_secs(30))
                .serve_connection(stream, service);
            tokio::spawn(connection);
        } else {
            let service = service_fn(move |_: Request<Incoming>| {
                let response = answer.http();
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(stream, service);
            tokio::spawn(connection);
        }
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
