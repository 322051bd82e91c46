//! The API behind a proxy: it returns what it got.
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// It runs on the runtime on which it was started.
pub struct Api {
    pub address: SocketAddr,
    without_caller: Targets,
}

type Targets = Arc<Mutex<Vec<String>>>;

impl Api {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let api = Self {
            address: listener.local_addr().unwrap(),
            without_caller: Targets::default(),
        };
        let without_caller = Arc::clone(&api.without_caller);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let without_caller = Arc::clone(&without_caller);
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&without_caller)));
                let connection = http1::Builder::new()
                    .max_buf_size(256 * 1024)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        api
    }

    /// The targets of requests that name no caller: the proxy did not ask about them.
    pub fn without_caller(&self) -> Vec<String> {
        self.without_caller.lock().unwrap().clone()
    }
}

/// A first line that no proxy writes, one with the method and the target, and one for each header and each trailer.
async fn answer(
    request: Request<Incoming>,
    without_caller: Targets,
) -> Result<Response<String>, Infallible> {
    let (parts, body) = request.into_parts();
    if !parts.headers.contains_key("x-keybound-client") {
        without_caller.lock().unwrap().push(parts.uri.to_string());
    }
    let mut text = format!("{REACHED}\n{} {}\n", parts.method, parts.uri);
    // A proxy may end the connection within the body.
    let body = body.collect().await.ok();
    let trailers = body.and_then(|body| body.trailers().cloned());
    let fields = parts.headers.iter().map(|field| ("", field));
    let trailers = trailers.iter().flatten().map(|field| ("trailer ", field));
    for (kind, (name, value)) in fields.chain(trailers) {
        let value = String::from_utf8_lossy(value.as_bytes());
        text += &format!("{kind}{name}: {value}\n");
    }
    Ok(Response::new(text))
}

/// The first line of the API's responses.
pub const REACHED: &str = "the API was reached";
