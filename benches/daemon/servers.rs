//! The daemon, and a server that answers 200 to everything, each on a separate thread.
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keybound_testing::attacks::{RESOURCE, TENANT, TestIssuer};
use keybound_verify::messages::{CheckResponse, HttpResponse, OkHttpResponse};
use keybound_verify::{Config, Daemon, DecisionLog};
use prost::Message as _;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::net::UnixListener;

/// An issuer, and a folder for sockets.
pub struct Setting {
    pub issuer: TestIssuer,
    folder: tempfile::TempDir,
}

impl Setting {
    pub fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the daemon has this clock")]
        let issuer = TestIssuer::new(SystemTime::now());
        let folder = tempfile::tempdir().unwrap();
        let keys = issuer.key_file().to_string();
        std::fs::write(folder.path().join("keys.json"), keys).unwrap();
        Self { issuer, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A server in its thread, which runs until the end of the program.
pub struct ServerThread {
    pub socket: PathBuf,
    /// The file in which the kernel counts the processor time of the thread.
    accounting: PathBuf,
}

impl ServerThread {
    pub fn daemon(setting: &Setting, protocol: &str) -> Self {
        let socket = setting.path(&format!("daemon-{protocol}"));
        let engine = if protocol == "grpc" { "envoy" } else { "nginx" };
        let config = format!(
            "[listen]\nunix = {socket:?}\n[proxy]\nengine = \"{engine}\"\n[keys]\nfile = {:?}\n[log]\ndecisions = \"none\"\n[[api]]\nhosts = [\"orders.contoso.com\"]\naudiences = [\"{RESOURCE}\"]\ntenants = [\"{TENANT}\"]\n",
            setting.path("keys.json"),
        );
        let config = Config::from_toml(&config).unwrap();
        Self::start(socket, async move {
            let again = config.clone();
            let extend = Arc::new(|_: &str, builder| builder);
            let load = move || Ok(again.clone());
            let daemon = Daemon::start(config, DecisionLog::none(), extend, load);
            Box::new(daemon.await.unwrap())
        })
    }

    pub fn unchecked(setting: &Setting, protocol: &str) -> Self {
        let socket = setting.path(&format!("unchecked-{protocol}"));
        let listener = socket.clone();
        let is_grpc = protocol == "grpc";
        Self::start(socket, async move {
            let listener = UnixListener::bind(listener).unwrap();
            tokio::spawn(serve(listener, is_grpc));
            Box::new(())
        })
    }

    /// Waits until the server listens.
    fn start<T: 'static>(
        socket: PathBuf,
        server: impl Future<Output = Box<T>> + Send + 'static,
    ) -> Self {
        let (sender, started) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let _server = server.await;
                let thread = std::fs::read_link("/proc/thread-self").unwrap();
                sender.send(thread).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let thread = started.recv().unwrap();
        Self {
            socket,
            accounting: PathBuf::from("/proc").join(thread).join("schedstat"),
        }
    }

    pub fn processor_time(&self) -> Duration {
        let text = std::fs::read_to_string(&self.accounting).unwrap();
        let nanoseconds = text.split(' ').next().unwrap().parse().unwrap();
        Duration::from_nanos(nanoseconds)
    }
}

async fn serve(listener: UnixListener, is_grpc: bool) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = TokioIo::new(stream);
        if is_grpc {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(stream, service_fn(grpc));
            tokio::spawn(connection);
        } else {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(stream, service_fn(http));
            tokio::spawn(connection);
        }
    }
}

async fn http(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::default()))
}

/// Reads the message, and returns one that allows the request.
async fn grpc(request: Request<Incoming>) -> Result<Response<Message>, Infallible> {
    use http_body_util::BodyExt as _;
    let message = request.into_body().collect().await.unwrap().to_bytes();
    assert!(message.len() > 5);
    let allowed = CheckResponse {
        status: Some(keybound_verify::messages::RpcStatus::default()),
        http_response: Some(HttpResponse::Ok(OkHttpResponse::default())),
    };
    let allowed = allowed.encode_to_vec();
    let length = u32::try_from(allowed.len()).unwrap().to_be_bytes();
    let body = Message {
        data: Some([&[0][..], &length, &allowed].concat().into()),
        ended: false,
    };
    let mut response = Response::new(body);
    let content_type = "application/grpc".parse().unwrap();
    response.headers_mut().insert("content-type", content_type);
    Ok(response)
}

/// A message and the trailers of gRPC.
struct Message {
    data: Option<Bytes>,
    ended: bool,
}

impl Body for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
