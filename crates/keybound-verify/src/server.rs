//! The server of HTTP: connections within limits, and their graceful end.
mod connections;

use crate::body::Body;
use crate::listener::{Accepted, Admission, Listener};
use connections::{Connection, Connections};
pub(crate) use connections::{Limit, Surplus};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use keybound_resource::accept_errors::{AcceptErrors, AfterError};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

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
        limit: Limit,
        answer: A,
    ) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(listener, protocol, limit, answer, stopped));
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
    limit: Limit,
    answer: A,
    mut stopped: oneshot::Receiver<Duration>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (stop, stopping) = watch::channel(());
    let connections = Connections::new(limit);
    let mut tasks = JoinSet::new();
    let errors = AcceptErrors::default();
    let limit = loop {
        let accept = async {
            let accepted = listener.accept().await?;
            Ok::<_, std::io::Error>((accepted, connections.admit().await))
        };
        let accepted = tokio::select! {
            accepted = accept => accepted,
            limit = &mut stopped => break limit.unwrap_or_default(),
        };
        while tasks.try_join_next().is_some() {}
        let (accepted, connection) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                match errors.report(&error) {
                    AfterError::Accept => {}
                    AfterError::Close => connections.end_one(RETRY_AFTER_ERROR).await,
                    AfterError::Wait => sleep(RETRY_AFTER_ERROR).await,
                }
                continue;
            }
        };
        let answer = answer.clone();
        tasks.spawn(serve(
            accepted,
            protocol,
            answer,
            connection,
            stopping.clone(),
        ));
    };
    drop(listener);
    drop(stop);
    // What is not finished then is ended.
    let _ = timeout(limit, async { while tasks.join_next().await.is_some() {} }).await;
}

fn serve<A, F>(
    accepted: Accepted,
    protocol: Protocol,
    answer: A,
    connection: Connection,
    stopping: watch::Receiver<()>,
) -> impl Future<Output = ()> + Send
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let Accepted {
        stream,
        peer,
        admission,
    } = accepted;
    let usage = connection.usage();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let running = usage.begin();
        request.extensions_mut().insert(peer.clone());
        let answered = answer(request);
        async move {
            let answer = answered.await;
            drop(running);
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = TokioIo::new(stream);
    let http: Http = match protocol {
        Protocol::Http1 => Box::pin(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE_HTTP1)
                .max_buf_size(MAX_HEAD)
                .serve_connection(stream, service),
        ),
        Protocol::Http2 => Box::pin(
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(KEEP_ALIVE)
                .max_header_list_size(MAX_HEADER_LIST)
                .max_concurrent_streams(MAX_STREAMS)
                .serve_connection(stream, service),
        ),
    };
    let served = attend(connection, http, stopping);
    until_end_of(admission, served)
}

/// A connection of either version.
type Http =
    Pin<Box<dyn GracefulConnection<Error = hyper::Error, Output = hyper::Result<()>> + Send>>;

/// Ends a connection when its peer may not remain connected. No request is received after that: this is looked at first.
async fn until_end_of(mut admission: Admission, served: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = admission.ended() => tracing::debug!("a connection was closed: its certificate is no longer pinned"),
        () = served => {}
    }
}

/// Serves a connection until its peer closes it, another one needs its place, it is not used for too long, or the server stops.
async fn attend(connection: Connection, mut http: Http, mut stopping: watch::Receiver<()>) {
    let usage = connection.usage();
    let wait = tokio::select! {
        // What the peer has sent is read before its connection is closed for another one.
        biased;
        ended = http.as_mut() => return report(ended),
        () = usage.evicted() => return,
        () = usage.unused(FIRST_REQUEST, IDLE) => GRACE,
        // `run` bounds the time.
        _ = stopping.changed() => Duration::MAX,
    };
    http.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(wait, http).await {
        report(ended);
    }
}

fn report(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

const RETRY_AFTER_ERROR: Duration = Duration::from_millis(100);
/// A proxy connects when it has a request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Without a new request, also if one is not complete. A proxy sends the next one on another connection.
const IDLE: Duration = Duration::from_secs(300);
/// How long a connection that is closed as it is idle has for what was sent at the same time.
const GRACE: Duration = Duration::from_secs(5);
/// Until the next request is complete: longer than proxies keep idle connections by default, so that they close them. HTTP/1.1 has no
/// message by which the server announces that it closes.
const IDLE_HTTP1: Duration = Duration::from_secs(75);
/// In bytes: a token, a certificate, a long path, and what surrounds them. As it is compared after each read, up to twice as much is read.
const MAX_HEAD: usize = 96 * 1024;
/// Tokens and certificates are in messages.
const MAX_HEADER_LIST: u32 = 16 * 1024;
const MAX_STREAMS: u32 = 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
