//! Connections: their limits, and their end.
use crate::fixture::{Fixture, case, connect_unix, status, subrequest};
use crate::support::runtime;
use keybound_verify::DecisionLog;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

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
