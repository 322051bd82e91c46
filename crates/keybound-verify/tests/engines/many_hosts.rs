//! Policies with many hosts, and with the longest names.
use crate::client::Client;
use crate::engine::{Engine, EngineKind};
use crate::faults::faulty_daemon::{ERROR, FaultyDaemon};
use crate::support::runtime;
use crate::table::shared_table;
use http::HeaderMap;
use keybound_verify::Config;
use std::net::{Ipv4Addr, SocketAddr};

/// Starts a proxy with its printed configuration for such a policy, which asks about requests for these hosts.
pub fn many_hosts(kind: &'static EngineKind) {
    let table = shared_table();
    let api = |name: &str| {
        let hosts: Vec<String> = (0..100).map(|index| long_name(name, index)).collect();
        format!("[[api]]\nhosts = {hosts:?}\naudiences = [\"api://{name}\"]\ntenants = \"any\"\n")
    };
    let policy = format!(
        "[listen]\ntcp = \"127.0.0.1:0\"\n[proxy]\nengine = \"{}\"\n{}{}",
        kind.name,
        api("orders"),
        api("invoices")
    );
    let mut config = Config::from_toml(&policy).unwrap();
    let api = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    runtime().block_on(async {
        let daemon = FaultyDaemon::start(kind, &mut config);
        let engine = Engine::start(kind, table.folder(), &config, api);
        let leaf = table.issuer.certificates.leaf("client");
        let mut client = Client::new(engine.address);
        // Printed configurations have the hosts in groups.
        for (name, index) in [
            ("orders", 0),
            ("orders", 6),
            ("orders", 99),
            ("invoices", 6),
        ] {
            let host = long_name(name, index);
            let path = format!("/{ERROR}");
            let leaf = ("client", Some(leaf));
            let asked = daemon.asked();
            let answer = client.send(&host, leaf, &path, &HeaderMap::new()).await;
            // Several proxies name the first host of the policy.
            let is_asked = daemon.asked() > asked && daemon.last_contains(&format!("{name}-"));
            assert!(is_asked, "{}: {name} {index}: {answer:?}", kind.name);
        }
    });
}

/// As long as a name may be.
fn long_name(name: &str, index: usize) -> String {
    let label = "x".repeat(61);
    let long = format!("{name}-{index}.{label}.{label}.{label}.{label}");
    long[..253].trim_end_matches('.').to_owned()
}
