//! The API behind a proxy: it returns what it got.
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// Starts it on the current runtime.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = http1::Builder::new()
                .max_buf_size(256 * 1024)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
    address
}

/// A first line that no proxy writes, one with the method and the target, and one for each header and each trailer.
async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let (parts, body) = request.into_parts();
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
