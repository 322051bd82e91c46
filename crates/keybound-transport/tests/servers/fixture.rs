//! A web server with its application, and clients for it.
use crate::application::Application;
use crate::support::client_builder;
use crate::support::keys::shared_key;
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::web_server::{ServerKind, VirtualHost, WebServer};
use keybound_transport::{HttpsClient, TlsVersions, VersionPolicy};
use std::time::Duration;

pub const BOTH: [TlsVersions; 2] = [TlsVersions::Tls12, TlsVersions::Tls13];

pub struct Fixture {
    pub web_server: WebServer,
    pub application: Application,
    pub authority: Authority,
    pub clients: Authority,
}

impl Fixture {
    pub async fn new(kind: &'static ServerKind) -> Self {
        Self::with_idle(kind, Duration::from_secs(60)).await
    }

    /// A fixture with this idle timeout of the server.
    pub async fn with_idle(kind: &'static ServerKind, idle: Duration) -> Self {
        let authority = Authority::new("test authority");
        let clients = Authority::new("authority of clients");
        let application = Application::start().await;
        let leaf = authority.server("localhost");
        Self {
            web_server: WebServer::start(kind, &leaf, &clients, application.address(), idle),
            application,
            authority,
            clients,
        }
    }

    /// A client with a certificate that the server trusts.
    pub fn client(&self, version: TlsVersions) -> HttpsClient {
        self.client_of(version, Some(&self.clients))
    }

    /// A client with a certificate of that authority, or with none.
    pub fn client_of(&self, version: TlsVersions, issuer: Option<&Authority>) -> HttpsClient {
        client_of(&self.authority, version, issuer)
    }
}

/// A client that trusts an authority and has a certificate of another, or none.
pub fn client_of(
    authority: &Authority,
    version: TlsVersions,
    issuer: Option<&Authority>,
) -> HttpsClient {
    client_builder(authority)
        .versions(VersionPolicy::default().with_host("localhost", version))
        .identity(issuer.map(|issuer| issuer.client("someone", shared_key())))
        .build()
        .unwrap()
}

/// Where a server requests the certificate: in the first handshake and, where supported, after the request.
pub fn certificate_requests(kind: &ServerKind) -> &'static [(VirtualHost, &'static str)] {
    const FIRST: (VirtualHost, &str) = (VirtualHost::Require, "/");
    const OPTIONAL: (VirtualHost, &str) = (VirtualHost::Optional, "/");
    match kind.name {
        "apache" => &[
            FIRST,
            OPTIONAL,
            (VirtualHost::Location, "/secure"),
            (VirtualHost::Location, "/asked"),
        ],
        _ => &[FIRST, OPTIONAL],
    }
}

/// The number of requests of each worker.
pub fn each(short: usize) -> usize {
    if is_long() { 1000 } else { short }
}

/// Whether the long tests are enabled.
pub fn is_long() -> bool {
    std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1")
}
