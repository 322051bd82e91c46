//! Servers that restart, die and lose patience in the middle of the work.
use crate::front::{Front, KINDS};
use crate::load::{Load, Tally, WORKERS};
use crate::scene::{BOTH, Scene, demands, each};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_gracefully_loses_no_safe_request() {
    for_all(Front::reload, |tally| {
        assert_eq!(tally.failed_and_arrived, 0, "{tally:?}");
        assert_only(tally, &["POST Protocol"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_reported_and_nothing_is_done_twice() {
    for_all(Front::kill_and_start, |tally| {
        let kinds = ["Connect", "Protocol", "ClientCertificateRejected"];
        let expected = ["GET", "POST"].map(|method| kinds.map(|kind| format!("{method} {kind}")));
        let expected: Vec<&str> = expected.iter().flatten().map(String::as_str).collect();
        assert_only(tally, &expected);
        assert!(!tally.failed.is_empty(), "nobody met the kills");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_idle_connections_loses_no_safe_request() {
    let each = each(100);
    let mut crossed = 0;
    for kind in KINDS {
        for version in BOTH {
            for (site, path) in demands(kind) {
                let scene = Scene::with_idle(kind, Duration::from_millis(5)).await;
                let mut load =
                    Load::new(&scene.client(version), scene.front.uri(*site, path), each);
                // Around the server's own patience, so that its end and the next request cross.
                load.pause = |number| 3 + number as u64 % 5;
                let tally = load.run().await.reckon(&scene.application.ledger());
                assert_eq!(tally.failed_and_arrived, 0, "{tally:?}");
                assert_only(&tally, &["POST Protocol"]);
                assert!(tally.answered > WORKERS * each / 2, "{tally:?}");
                crossed += tally.repeated + tally.failed.len();
            }
        }
    }
    assert!(crossed > 0, "no end crossed a request");
}

/// Runs the load on each server, and lets something happen to it a few times in the middle of it.
async fn for_all(happen: fn(&mut Front), judge: fn(&Tally)) {
    let each = each(300);
    for kind in KINDS {
        for version in BOTH {
            let (site, path) = *demands(kind).last().unwrap();
            let scene = Scene::new(kind).await;
            let Scene {
                mut front,
                application,
                ..
            } = scene;
            let client = crate::scene::client_of(&scene.authority, version, Some(&scene.clients));
            let load = Load::new(&client, front.uri(site, path), each);
            let (done, all) = (load.done.clone(), WORKERS * each);
            let running = tokio::spawn(load.run());
            for happening in 1..=HAPPENINGS {
                while done.load(Ordering::Relaxed) < all * happening / (HAPPENINGS + 1) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let work = tokio::task::spawn_blocking(move || {
                    happen(&mut front);
                    front
                });
                front = work.await.unwrap();
            }
            let tally = running.await.unwrap().reckon(&application.ledger());
            judge(&tally);
            assert!(tally.answered > all / 2, "{tally:?}");
            // Later requests succeed.
            application.ledger().clear();
            let after = Load::new(&client, front.uri(site, path), 3);
            let after = after.run().await.reckon(&application.ledger());
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

const HAPPENINGS: usize = 3;
