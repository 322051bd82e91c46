//! The server of HTTP: connections within limits, and their graceful end.
use crate::listener::{Listener, Stream};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use keybound_resource::source::Peer;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tonic::body::Body;

/// What a server speaks. A proxy speaks one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Without TLS's negotiation, as gRPC.
    Http2,
}

/// A server that runs.
pub(crate) struct Server {
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts to answer requests. Each has its [`Peer`] in its extensions.
    pub(crate) fn start<A, F>(
        listener: Listener,
        protocol: Protocol,
        connections: usize,
        answer: A,
    ) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(listener, protocol, connections, answer, stopped));
        Self { stop, task }
    }

    /// Accepts no more connections, and waits until the requests that were received are answered, at most for this time.
    pub(crate) async fn stop(self, limit: Duration) {
        // An error: it has ended, which the task returns.
        let _ = self.stop.send(limit);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the server failed");
        }
    }
}

async fn run<A, F>(
    mut listener: Listener,
    protocol: Protocol,
    connections: usize,
    answer: A,
    mut stopped: oneshot::Receiver<Duration>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(connections));
    let limit = loop {
        let accept = async {
            // It is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            limit = &mut stopped => break limit.unwrap_or_default(),
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as too many open files: others may be closed meanwhile.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(RETRY_AFTER_ERROR).await;
                continue;
            }
        };
        let serving = serve(stream, peer, protocol, answer.clone(), &graceful);
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    };
    drop(listener);
    // What is not finished then is ended with the runtime.
    let _ = tokio::time::timeout(limit, graceful.shutdown()).await;
}

fn serve<A, F>(
    stream: Box<dyn Stream>,
    peer: Peer,
    protocol: Protocol,
    answer: A,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<A, F>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let watcher = graceful.watcher();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let stream = TokioIo::new(stream);
    async move {
        let ended = match protocol {
            Protocol::Http1 => {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(IDLE)
                    .max_buf_size(MAX_HEAD)
                    .max_headers(MAX_HEADERS)
                    .serve_connection(stream, service);
                watcher.watch(connection).await
            }
            Protocol::Http2 => {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(KEEP_ALIVE)
                    .max_header_list_size(MAX_HEADER_LIST)
                    .max_concurrent_streams(MAX_STREAMS)
                    .serve_connection(stream, service);
                watcher.watch(connection).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }
}

const RETRY_AFTER_ERROR: Duration = Duration::from_millis(100);
/// Until the next request is complete: longer than proxies keep idle connections by default, so that they close them.
const IDLE: Duration = Duration::from_secs(75);
/// In bytes: a token, a certificate, a long path, and what surrounds them. As it is compared after each read, up to twice as much is read.
const MAX_HEAD: usize = 96 * 1024;
const MAX_HEADERS: usize = 128;
/// Tokens and certificates are in messages.
const MAX_HEADER_LIST: u32 = 16 * 1024;
const MAX_STREAMS: u32 = 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
