//! Servers that restart, are killed, or close idle connections during the load.
use crate::fixture::{BOTH, Fixture, certificate_requests, each};
use crate::load::{Load, Tally, WORKERS};
use crate::web_server::{SERVER_KINDS, WebServer};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_safe_request_fails_when_a_server_restarts() {
    for_all(WebServer::reload, |tally| {
        assert_eq!(tally.failed_and_arrived, 0, "{tally:?}");
        assert_only(tally, &["POST Protocol"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_a_killed_server_and_repeats_nothing() {
    for_all(WebServer::kill_and_start, |tally| {
        let kinds = ["Connect", "Protocol", "ClientCertificateRejected"];
        let expected = ["GET", "POST"].map(|method| kinds.map(|kind| format!("{method} {kind}")));
        let expected: Vec<&str> = expected.iter().flatten().map(String::as_str).collect();
        assert_only(tally, &expected);
        assert!(!tally.failed.is_empty(), "no request failed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_safe_request_fails_when_a_server_closes_idle_connections() {
    let each = each(100);
    let mut crossed = 0;
    for kind in SERVER_KINDS {
        for version in BOTH {
            for (virtual_host, path) in certificate_requests(kind) {
                let fixture = Fixture::with_idle(kind, Duration::from_millis(5)).await;
                let mut load = Load::new(
                    &fixture.client(version),
                    fixture.web_server.uri(*virtual_host, path),
                    each,
                );
                // About the server's idle timeout, so that its close and the next request cross.
                load.pause = |number| 3 + number as u64 % 5;
                let tally = load.run().await.check(&fixture.application.request_log());
                assert_eq!(tally.failed_and_arrived, 0, "{tally:?}");
                assert_only(&tally, &["POST Protocol"]);
                assert!(tally.answered > WORKERS * each / 2, "{tally:?}");
                crossed += tally.retried + tally.failed.len();
            }
        }
    }
    assert!(crossed > 0, "no close crossed a request");
}

/// Runs the load on each server, and interrupts the server some times meanwhile.
async fn for_all(interrupt: fn(&mut WebServer), check: fn(&Tally)) {
    let each = each(300);
    for kind in SERVER_KINDS {
        for version in BOTH {
            let (virtual_host, path) = *certificate_requests(kind).last().unwrap();
            let fixture = Fixture::new(kind).await;
            let Fixture {
                mut web_server,
                application,
                ..
            } = fixture;
            let client =
                crate::fixture::client_of(&fixture.authority, version, Some(&fixture.clients));
            let load = Load::new(&client, web_server.uri(virtual_host, path), each);
            let (done, all) = (load.done.clone(), WORKERS * each);
            let is_interrupted = load.is_interrupted.clone();
            let running = tokio::spawn(load.run());
            for interruption in 1..=INTERRUPTIONS {
                while done.load(Ordering::Relaxed) < all * interruption / (INTERRUPTIONS + 1) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                is_interrupted.store(true, Ordering::SeqCst);
                let work = tokio::task::spawn_blocking(move || {
                    interrupt(&mut web_server);
                    web_server
                });
                web_server = work.await.unwrap();
                is_interrupted.store(false, Ordering::SeqCst);
            }
            let tally = running.await.unwrap().check(&application.request_log());
            check(&tally);
            assert!(tally.answered > all / 2, "{tally:?}");
            // Later requests succeed.
            application.request_log().clear();
            let after = Load::new(&client, web_server.uri(virtual_host, path), 3);
            let after = after.run().await.check(&application.request_log());
            assert_eq!(after.answered, WORKERS * 3, "{after:?}");
        }
    }
}

/// Only failures of these kinds.
fn assert_only(tally: &Tally, kinds: &[&str]) {
    for row in tally.failed.keys() {
        assert!(kinds.contains(&row.as_str()), "{tally:?}");
    }
}

const INTERRUPTIONS: usize = 3;
