use super::nginx::Nginx;
use hyper::header::{AUTHORIZATION, HeaderMap};
use keybound_benches::load::{Extent, Load, Report, Target};
use keybound_benches::setting::{HOST, Setting};
use keybound_testing::attacks::TokenRecipe;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Connections to a proxy, with the client certificate of the token.
pub struct Client {
    runtime: Runtime,
    load: Load,
}

impl Client {
    pub fn connect(setting: &Setting, proxy: &Nginx, connections: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let load = Load::connect(target(setting, proxy), connections);
        let load = runtime.block_on(load).unwrap();
        Self { runtime, load }
    }

    /// Sends this many requests, all of which are accepted.
    pub fn send(&mut self, count: usize) {
        let each = Extent::RequestsOnEach(count / super::CONNECTIONS);
        self.run(each);
    }

    pub fn send_for(&mut self, duration: Duration) -> Report {
        self.run(Extent::Until(Instant::now() + duration))
    }

    fn run(&mut self, extent: Extent) -> Report {
        let report = self.runtime.block_on(self.load.send(extent)).unwrap();
        assert!(report.all_are(200), "{report}");
        report
    }
}

fn target(setting: &Setting, proxy: &Nginx) -> Target {
    let recipe: TokenRecipe = serde_json::from_str("{}").unwrap();
    let mut headers = HeaderMap::new();
    let token = format!("mtls_pop {}", recipe.make(&setting.issuer));
    headers.insert(AUTHORIZATION, token.parse().unwrap());
    let leaf = setting.issuer.certificates.leaf("client");
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_certificate(&leaf.certificate).unwrap();
    connector.set_private_key(&leaf.key).unwrap();
    // The certificate of the proxy is not what is measured.
    connector.set_verify(SslVerifyMode::NONE);
    Target {
        address: proxy.address,
        url: format!("https://{HOST}/orders").parse().unwrap(),
        headers,
        connector: connector.build(),
    }
}
