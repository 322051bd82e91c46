use crate::api::{Api, REACHED};
use crate::client::Client;
use crate::engine::{Engine, EngineKind};
use crate::support::{host_of, runtime};
use crate::table::shared_table;
use http::HeaderMap;
use keybound_testing::attacks::{TokenRecipe, cases};
use keybound_testing::{Authority, Leaf};
use keybound_verify::{Config, DaemonConnection, DecisionLog};
use std::fs;
use std::path::Path;

/// A proxy reaches the daemon with its certificate, and no server whose certificate is of another CA, or for another host.
pub fn daemon_with_tls(kind: &EngineKind) {
    let authority = Authority::new("daemons");
    let (daemon, other_host) = (
        authority.server("localhost"),
        authority.server("elsewhere.test"),
    );
    let other_authority = Authority::new("others");
    for (is_reached, server, trusted) in [
        (true, &daemon, &authority),
        (false, &daemon, &other_authority),
        (false, &other_host, &authority),
    ] {
        let (status, body) = answer(kind, server, trusted);
        assert_eq!(
            body.starts_with(REACHED),
            is_reached,
            "{}: {status}",
            kind.name
        );
        assert!(is_reached || status >= 500, "{}: {status}", kind.name);
    }
}

/// The answer to the owner of a token.
fn answer(kind: &EngineKind, server: &Leaf, trusted: &Authority) -> (u16, String) {
    let table = shared_table();
    let folder = table.folder();
    let proxy = Leaf::self_signed("proxy");
    write(folder, "daemon", server, false);
    write(folder, "proxy", &proxy, kind.key_beside_certificate);
    fs::write(folder.join("ca.pem"), trusted.pem()).unwrap();
    let text = table.config(kind.name);
    let (_, rest) = text.split_once("[proxy]").unwrap();
    let path = |name: &str| folder.join(name);
    let listen = format!(
        "[listen]\ntcp = \"127.0.0.1:0\"\n[listen.tls]\ncertificate = {:?}\nkey = {:?}\nclients = [{:?}]\n[proxy]",
        path("daemon.pem"),
        path("daemon.key"),
        path("proxy.pem"),
    );
    let config = Config::from_toml(&(listen + rest)).unwrap();
    runtime().block_on(async {
        let log = DecisionLog::none();
        let daemon = table.start_with_config(config.clone(), log).await;
        let address = format!("localhost:{}", daemon.address().unwrap().port());
        let connection = DaemonConnection::new(
            address.parse().unwrap(),
            path("ca.pem"),
            path("proxy.pem"),
            path("proxy.key"),
        );
        let api = Api::start().await;
        let engine = Engine::start_with_tls(kind, folder, &config, api.address, Some(connection));
        let case = cases().into_iter().find(|case| case.name == "version-2");
        let host = host_of(&case.unwrap());
        let token = TokenRecipe::default().make(&table.issuer);
        let mut headers = HeaderMap::new();
        headers.insert(
            "authorization",
            format!("mtls_pop {token}").parse().unwrap(),
        );
        let leaf = ("client", Some(table.issuer.certificates.leaf("client")));
        let sent = Client::new(engine.address)
            .send(&host, leaf, "/", &headers)
            .await;
        let (parts, body) = sent.unwrap().into_parts();
        (parts.status.as_u16(), body)
    })
}

fn write(folder: &Path, name: &str, leaf: &Leaf, is_key_beside: bool) {
    let key = leaf.key.private_key_to_pem_pkcs8().unwrap();
    let mut chain = leaf.pem();
    if is_key_beside {
        chain.extend_from_slice(&key);
    }
    fs::write(folder.join(name).with_extension("pem"), chain).unwrap();
    fs::write(folder.join(name).with_extension("key"), key).unwrap();
}
