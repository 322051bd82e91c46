//! The listener with TLS and pinned certificates.
use crate::fixture::{connect, get};
use crate::support::runtime;
use crate::tls_daemon::TlsDaemon;
use keybound_testing::CapturedLog;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, advance, pause, resume};

#[test]
fn tls_admits_the_pinned_proxy_only() {
    runtime().block_on(async {
        let tls = TlsDaemon::start("").await;
        assert_eq!(tls.status_for(&tls.proxy).await, 200);
        for leaf in [Some(&tls.other), None] {
            let mut sender = connect(tls.connect(leaf).await).await;
            assert!(sender.send_request(tls.request()).await.is_err());
        }
        tls.daemon.stop(Duration::ZERO).await;
    });
}

/// Every peer that can connect can do so again and again.
#[test]
fn unpinned_peers_are_counted_and_logged_once_a_minute() {
    let log = CapturedLog::default();
    let connections = async {
        let tls = TlsDaemon::start("").await;
        for _ in 0..5 {
            tls.is_closed(&tls.other).await;
        }
        // Not during a handshake, which would time out.
        pause();
        advance(Duration::from_secs(60)).await;
        resume();
        tls.is_closed(&tls.other).await;
        let (_, metrics) = get(&tls.fixture.admin(), "GET", "/metrics").await;
        let count = "keybound_verify_unpinned_connections_total 6\n";
        assert!(metrics.contains(count), "{metrics}");
        tls.daemon.stop(Duration::ZERO).await;
    };
    log.during(|| runtime().block_on(connections));
    let warnings = log.lines_with("without a pinned certificate");
    let counts = ["connections=1 ", "connections=5 "];
    assert_eq!(warnings.len(), counts.len(), "{warnings:?}");
    for (warning, count) in warnings.iter().zip(counts) {
        assert!(warning.contains(count), "{warning}");
    }
}

#[test]
fn unfinished_handshakes_leave_places_to_proxies_and_end_after_ten_seconds() {
    runtime().block_on(async {
        let tls = TlsDaemon::start("[limits]\nconnections = 2\n").await;
        let started = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..10 {
            silent.push(TcpStream::connect(("127.0.0.1", tls.port)).await.unwrap());
        }
        assert_eq!(tls.status_for(&tls.proxy).await, 200);
        // It did not wait for their end.
        for stream in &silent {
            let is_open = stream.try_read(&mut [0]).unwrap_err();
            assert_eq!(is_open.kind(), std::io::ErrorKind::WouldBlock);
        }
        pause();
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        }
        assert!(started.elapsed() >= HANDSHAKE);
        assert!(started.elapsed() < 2 * HANDSHAKE);
        tls.daemon.stop(Duration::ZERO).await;
    });
}

const HANDSHAKE: Duration = Duration::from_secs(10);
