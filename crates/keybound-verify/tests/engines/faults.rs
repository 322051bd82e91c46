//! What a proxy does if something else than the daemon's decision arrives: it denies the request.
pub mod faulty_daemon;

use crate::client::Client;
use crate::engine::{Engine, EngineKind};
use crate::support::{host_of, runtime};
use crate::table::{config, shared_table};
use faulty_daemon::{ALLOWED, FaultyDaemon, NO_CALLER, SILENT, faults};
use http::HeaderMap;
use keybound_testing::attacks::cases;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// Sends a request for each fault of a daemon, and one without a fault, which reaches the API. The proxy has the printed configuration, but waits shorter for an answer.
pub fn faults_of_daemon(kind: &'static EngineKind) {
    let table = shared_table();
    let mut config = config(kind, &table);
    // No one accepts connections, but the system does.
    let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    api.set_nonblocking(true).unwrap();
    let runtime = runtime();
    let daemon = runtime.block_on(async { FaultyDaemon::start(kind, &mut config) });
    let shorten = |printed: String| {
        let Some((time, shorter)) = kind.waits else {
            return printed;
        };
        assert!(printed.contains(time), "{time}: {printed}");
        printed.replace(time, shorter)
    };
    let address = api.local_addr().unwrap();
    let engine = Engine::start_changed(kind, table.folder(), &config, address, None, shorten);
    let case = cases().into_iter().find(|case| case.name == "version-2");
    let host = host_of(&case.unwrap());
    let leaf = ("client", Some(table.issuer.certificates.leaf("client")));
    for fault in faults(kind) {
        if is_skipped(kind, fault) {
            continue;
        }
        let asked = daemon.asked();
        let path = format!("/{fault}");
        let answer = runtime.block_on(async {
            let mut client = Client::new(engine.address);
            let headers = HeaderMap::new();
            let sent = client.send(&host, leaf, &path, &headers);
            tokio::time::timeout(LIMIT, sent).await
        });
        let name = format!("{}: {fault}", kind.name);
        let status = answer.expect(&name).expect(&name).status().as_u16();
        // What Envoy takes for a refusal is passed on.
        assert!(
            matches!(status, 204 | 302 | 401 | 403 | 500..=504),
            "{name}: {status}"
        );
        assert!(daemon.asked() > asked, "{name}: the daemon was not asked");
        assert!(api.accept().is_err(), "{name}: the API was reached");
    }
    let reached = runtime.block_on(async {
        let api = tokio::net::TcpListener::from_std(api).unwrap();
        let mut client = Client::new(engine.address);
        let (path, headers) = (format!("/{ALLOWED}"), HeaderMap::new());
        tokio::select! {
            answer = client.send(&host, leaf, &path, &headers) => Err(answer),
            connection = api.accept() => Ok(connection.is_ok()),
            () = tokio::time::sleep(LIMIT) => Ok(false),
        }
    });
    assert!(
        matches!(reached, Ok(true)),
        "{}: a caller is denied: {reached:?}",
        kind.name
    );
}

/// Traefik waits 30 s, which is for `scripts/test-long`, and allows each response with a status of 2xx.
fn is_skipped(kind: &EngineKind, fault: &str) -> bool {
    let is_long = std::env::var_os("KEYBOUND_LONG_TESTS").is_some();
    (kind.waits.is_none() && fault == SILENT && !is_long)
        || (!kind.requires_caller && NO_CALLER.contains(&fault))
}

/// More than 30 s.
const LIMIT: Duration = Duration::from_secs(45);
