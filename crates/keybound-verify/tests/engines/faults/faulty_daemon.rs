use crate::engine::EngineKind;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound_verify::Config;
use std::convert::Infallible;
use std::fs;
use std::future::{Ready, ready};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

/// A server in the place of the daemon. The path of the request that it is asked about names its fault.
pub struct FaultyDaemon(Requests);

/// The heads or messages of those that it got.
type Requests = Arc<Mutex<Vec<Vec<u8>>>>;

impl FaultyDaemon {
    /// Starts it on the current runtime; the configuration then names where it listens.
    pub fn start(kind: &'static EngineKind, config: &mut Config) -> Self {
        let asked = Requests::default();
        let this = Self(Arc::clone(&asked));
        if let Some(path) = config.listen.unix.clone() {
            let listener = UnixListener::bind(&path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
            tokio::spawn(async move {
                loop {
                    serve(kind, listener.accept().await.unwrap().0, &asked);
                }
            });
        } else {
            let listener = std::net::TcpListener::bind(config.listen.tcp.unwrap()).unwrap();
            listener.set_nonblocking(true).unwrap();
            config.listen.tcp = Some(listener.local_addr().unwrap());
            let listener = TcpListener::from_std(listener).unwrap();
            tokio::spawn(async move {
                loop {
                    serve(kind, listener.accept().await.unwrap().0, &asked);
                }
            });
        }
        this
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Whether this is in the last request.
    pub fn last_contains(&self, text: &str) -> bool {
        let requests = self.0.lock().unwrap();
        let last = requests.last();
        last.is_some_and(|last| String::from_utf8_lossy(last).contains(text))
    }
}

fn serve(
    kind: &EngineKind,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    asked: &Requests,
) {
    let asked = Arc::clone(asked);
    match kind.name {
        "envoy" => tokio::spawn(grpc(stream, asked)),
        _ => tokio::spawn(http(stream, asked)),
    };
}

/// Answers the first request of a connection, and closes it.
async fn http(mut stream: impl AsyncRead + AsyncWrite + Unpin, asked: Requests) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        // Proxies end connections that they do not use.
        if !stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
    asked.lock().unwrap().push(head.clone());
    let answer = of_request(HTTP_FAULTS, &head);
    if answer.is_empty() {
        // Until the proxy ends it.
        let _ = stream.read_to_end(&mut head).await;
        return;
    }
    // The proxy may not read it.
    let _ = stream.write_all(answer.as_bytes()).await;
    if answer.ends_with(LONG) {
        for _ in 0..1024 {
            let _ = stream.write_all(&[b'a'; 16 * 1024]).await;
        }
    }
}

async fn grpc(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, asked: Requests) {
    let service = service_fn(move |request| call(request, Arc::clone(&asked)));
    let server = http2::Builder::new(TokioExecutor::new());
    // The proxy may end it.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

type GrpcBody = WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>;

async fn call(request: Request<Incoming>, asked: Requests) -> io::Result<Response<GrpcBody>> {
    let message = request.into_body().collect().await.unwrap().to_bytes();
    asked.lock().unwrap().push(message.to_vec());
    let (content_type, message, status) = match of_request(GRPC_FAULTS, &message) {
        Call::Silent => std::future::pending().await,
        Call::Reset => return Err(io::Error::other("reset")),
        Call::Answer(content_type, message, status) => (content_type, message, status),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(Bytes::from_static(message)).with_trailers(ready(Some(Ok(trailers))));
    let response = Response::builder().header("content-type", *content_type);
    Ok(response.body(body).unwrap())
}

/// That whose name is in the path of the request.
fn of_request<T>(faults: &'static [(&str, T)], request: &[u8]) -> &'static T {
    let request = String::from_utf8_lossy(request);
    let mut faults = faults.iter();
    let found = faults.find(|(name, _)| request.contains(&format!("/{name}")));
    &found.unwrap().1
}

/// The names of all faults in the protocol of a proxy.
pub fn faults(kind: &EngineKind) -> Vec<&'static str> {
    let mut names: Vec<_> = match kind.name {
        "envoy" => GRPC_FAULTS.iter().map(|(name, _)| *name).collect(),
        _ => HTTP_FAULTS.iter().map(|(name, _)| *name).collect(),
    };
    names.retain(|name| *name != ALLOWED);
    names
}

/// No fault: a decision that names a caller.
pub const ALLOWED: &str = "allowed";
/// It answers with an error.
pub const ERROR: &str = "error";

/// It never answers.
pub const SILENT: &str = "silent";
/// Another server allows the request.
pub const NO_CALLER: [&str; 3] = ["other-server", "empty-caller", "no-content"];

/// What is sent in place of an answer.
const HTTP_FAULTS: &[(&str, &str)] = &[
    (SILENT, ""),
    (
        ALLOWED,
        "HTTP/1.1 200 OK\r\nx-keybound-client: other\r\ncontent-length: 0\r\n\r\n",
    ),
    ("closes", "H"),
    ("garbage", "\x16\x03\x01\r\n\r\n\r\n"),
    (
        "no-status",
        "HTTP/1.1 OK\r\nx-keybound-client: other\r\n\r\n",
    ),
    ("other-protocol", "SSH-2.0-server\r\n\r\n"),
    (
        "cut-head",
        "HTTP/1.1 200 OK\r\nx-keybound-client: other\r\nx-keybound-te",
    ),
    (
        "cut-end-of-head",
        "HTTP/1.1 200 OK\r\nx-keybound-client: other\r\n",
    ),
    ("huge-header", "HTTP/1.1 200 OK\r\nx-keybound-client: aaaa"),
    ("huge-status", "HTTP/1.1 200 aaaa"),
    (
        "huge-body",
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 16777216\r\n\r\naaaa",
    ),
    (
        "redirect",
        "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        ERROR,
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "other-server",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "empty-caller",
        "HTTP/1.1 200 OK\r\nx-keybound-client:\r\ncontent-length: 0\r\n\r\n",
    ),
    ("no-content", "HTTP/1.1 204 No Content\r\n\r\n"),
];
/// The end of those that go on for 16 MiB.
const LONG: &str = "aaaa";

enum Call {
    Silent,
    Reset,
    /// The type of the content, the bytes, and the status.
    Answer(&'static str, &'static [u8], &'static str),
}

const GRPC_FAULTS: &[(&str, Call)] = &[
    (SILENT, Call::Silent),
    (
        ALLOWED,
        // The status, and the header in place of the client's.
        Call::Answer(
            GRPC,
            b"\0\0\0\0\x24\x0a\0\x1a\x20\x12\x1e\x0a\x1a\x0a\x11x-keybound-client\x12\x05other\x18\x02",
            "0",
        ),
    ),
    ("reset", Call::Reset),
    (
        "garbage",
        Call::Answer(GRPC, &[0, 0, 0, 0, 3, 255, 255, 255], "0"),
    ),
    (
        "cut-message",
        Call::Answer(GRPC, &[0, 0, 0, 0, 99, 10], "0"),
    ),
    (
        "compressed",
        Call::Answer(GRPC, &[1, 0, 0, 0, 2, 8, 1], "0"),
    ),
    ("no-message", Call::Answer(GRPC, &[], "0")),
    ("empty-message", Call::Answer(GRPC, &[0; 5], "0")),
    // That of a health check.
    (
        "other-message",
        Call::Answer(GRPC, &[0, 0, 0, 0, 2, 8, 1], "0"),
    ),
    ("two-messages", Call::Answer(GRPC, &[0; 10], "0")),
    (
        "huge-length",
        Call::Answer(GRPC, &[0, 255, 255, 255, 255, 10], "0"),
    ),
    (ERROR, Call::Answer(GRPC, &[], "13")),
    ("not-implemented", Call::Answer(GRPC, &[], "12")),
    ("other-content", Call::Answer("text/html", b"<html>", "0")),
];
const GRPC: &str = "application/grpc";
