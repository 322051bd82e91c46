//! Connections: their limits, and their end.
use crate::fixture::{Fixture, case, connect_unix, get, status, subrequest};
use crate::support::envoy::{call, connect_http2};
use crate::support::{paused_runtime, runtime};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame};
use keybound_verify::DecisionLog;
use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

#[test]
fn request_that_was_received_is_answered_before_the_end() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut stream = UnixStream::connect(fixture.socket()).await.unwrap();
        // The head is not complete yet when the daemon is stopped.
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: keybound\r\n")
            .await
            .unwrap();
        tokio::task::yield_now().await;
        let stopping = tokio::spawn(daemon.stop(Duration::from_secs(30)));
        while fixture.socket().exists() {
            tokio::task::yield_now().await;
        }
        stream.write_all(b"\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        stopping.await.unwrap();
    });
}

#[test]
fn large_heads_are_refused() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let huge = "x".repeat(512 * 1024);
        let many = "x-a: b\r\n".repeat(200);
        for head in [format!("x-a: {huge}\r\n"), many] {
            let mut stream = UnixStream::connect(fixture.socket()).await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{head}\r\n");
            // The daemon may close the connection before everything is sent.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
                "{answer}"
            );
        }
        let mut sender = connect_unix(&fixture.socket()).await;
        let request = subrequest(&case("version-2"), "orders.contoso.com");
        assert_eq!(status(&mut sender, request).await.0, 200);
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn silent_connections_are_closed() {
    paused_runtime().block_on(async {
        for engine in ["nginx", "envoy"] {
            let fixture = Fixture::of(engine);
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            for socket in [fixture.socket(), fixture.admin()] {
                for start in ["", "G", "PRI * HTTP/2.0\r\n"] {
                    let mut stream = UnixStream::connect(&socket).await.unwrap();
                    stream.write_all(start.as_bytes()).await.unwrap();
                    let mut received = Vec::new();
                    let closed = timeout(SILENT, stream.read_to_end(&mut received)).await;
                    assert!(closed.is_ok(), "{engine} {}: {start}", socket.display());
                }
            }
            daemon.stop(Duration::ZERO).await;
        }
    });
}

#[test]
fn silent_connections_leave_places_to_others() {
    paused_runtime().block_on(async {
        for engine in ["nginx", "envoy"] {
            let fixture = Fixture::of(engine);
            fixture.replace("[[api]]", "[limits]\nconnections = 4\n[[api]]");
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let mut silent = Vec::new();
            for _ in 0..10 {
                silent.push(UnixStream::connect(fixture.socket()).await.unwrap());
            }
            let answered = timeout(AT_ONCE, answers(engine, &fixture.socket())).await;
            assert!(answered.is_ok(), "{engine}");
            daemon.stop(Duration::ZERO).await;
        }
    });
}

#[test]
fn operators_cannot_keep_each_other_away() {
    paused_runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut silent = Vec::new();
        let mut idle = Vec::new();
        for _ in 0..70 {
            silent.push(UnixStream::connect(fixture.admin()).await.unwrap());
            let mut sender = connect_unix(&fixture.admin()).await;
            let request = subrequest(&case("version-2"), "orders.contoso.com");
            let found = timeout(AT_ONCE, status(&mut sender, request)).await;
            assert_eq!(found.unwrap().0, 404);
            idle.push(sender);
        }
        let ready = timeout(AT_ONCE, get(&fixture.admin(), "GET", "/readyz")).await;
        assert_eq!(ready.unwrap().0, 200);
        daemon.stop(Duration::ZERO).await;
    });
}

/// A proxy that is used remains connected; one that is not, or whose request never ends, does not.
#[test]
fn idle_connections_of_grpc_are_closed() {
    paused_runtime().block_on(async {
        let fixture = Fixture::of("envoy");
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let (mut used, mut used_ended) = connect_http2::<Full<Bytes>>(&fixture.socket()).await;
        for _ in 0..20 {
            used.ready().await.unwrap();
            let response = used.send_request(call(Full::default())).await;
            assert_eq!(response.unwrap().status(), 200);
            let closed = timeout(Duration::from_secs(240), &mut used_ended).await;
            assert!(closed.is_err(), "a connection in use was closed");
        }
        let closed = timeout(2 * IDLE, used_ended).await;
        assert!(closed.unwrap().unwrap().is_ok(), "closed with an error");
        let (mut stuck, stuck_ended) = connect_http2(&fixture.socket()).await;
        let response = stuck.send_request(call(Unfinished));
        let ended = timeout(2 * IDLE + GRACE, response).await;
        assert!(ended.unwrap().is_err(), "the request does not end");
        assert!(timeout(GRACE, stuck_ended).await.is_ok());
        daemon.stop(Duration::ZERO).await;
    });
}

async fn answers(engine: &str, socket: &Path) {
    if engine == "envoy" {
        let (mut sender, _) = connect_http2::<Full<Bytes>>(socket).await;
        let response = sender.send_request(call(Full::default())).await;
        assert_eq!(response.unwrap().status(), 200);
        return;
    }
    let mut sender = connect_unix(socket).await;
    let request = subrequest(&case("version-2"), "orders.contoso.com");
    assert_eq!(status(&mut sender, request).await.0, 200);
}

/// A body of which nothing arrives.
struct Unfinished;

impl Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// Until a connection without a request is closed.
const SILENT: Duration = Duration::from_secs(20);
/// Shorter than any timeout of the daemon.
const AT_ONCE: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(301);
const GRACE: Duration = Duration::from_secs(6);
