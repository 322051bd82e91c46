//! Policies with many hosts, and with the longest names.
use crate::engine::{Engine, EngineKind};
use keybound_verify::Config;
use std::net::{Ipv4Addr, SocketAddr};

/// Starts a proxy with its printed configuration for such a policy.
pub fn many_hosts(kind: &EngineKind) {
    let folder = tempfile::tempdir().unwrap();
    let api = |name: &str| {
        let hosts: Vec<String> = (0..100).map(|index| long_name(name, index)).collect();
        format!("[[api]]\nhosts = {hosts:?}\naudiences = [\"api://{name}\"]\ntenants = \"any\"\n")
    };
    let policy = format!(
        "[listen]\ntcp = \"127.0.0.1:1\"\n[proxy]\nengine = \"{}\"\n{}{}",
        kind.name,
        api("orders"),
        api("invoices")
    );
    let config = Config::from_toml(&policy).unwrap();
    let api = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    // It fails if the proxy ends before it accepts connections.
    Engine::start(kind, folder.path(), &config, api);
}

/// As long as a name may be.
fn long_name(name: &str, index: usize) -> String {
    let label = "x".repeat(61);
    let long = format!("{name}-{index}.{label}.{label}.{label}.{label}");
    long[..253].trim_end_matches('.').to_owned()
}
