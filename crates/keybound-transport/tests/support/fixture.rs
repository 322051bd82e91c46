//! A server, and a client with a certificate.
use super::client_builder;
use super::keys::shared_key;
use super::pki::{Authority, ClientIdentities as _};
use super::server::{ClientAuth, Server, ServerConfig, hex, resource_server};
use keybound_transport::HttpsClient;
use openssl::sha::sha256;
use openssl::ssl::{SslContext, SslVersion};

pub const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

/// A server of one authority, and a client with a certificate of another, which the server trusts.
pub struct Fixture {
    pub server: Server,
    pub client: HttpsClient,
    /// SHA-256 of the client's certificate.
    pub thumbprint: String,
}

pub async fn fixture(version: SslVersion, client_auth: ClientAuth) -> Fixture {
    let authority = Authority::new("test authority");
    let clients = Authority::new("authority of clients");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: Some(version),
        client_auth,
        client_ca: clients.clone(),
    };
    let identity = clients.client("client", shared_key());
    let thumbprint = hex(&sha256(identity.certificate().der()));
    let client = client_builder(&authority)
        .identity(identity)
        .build()
        .unwrap();
    Fixture {
        server: resource_server(server_config.context()).await,
        client,
        thumbprint,
    }
}

pub fn name(version: SslVersion) -> &'static str {
    if version == SslVersion::TLS1_2 {
        "TLSv1.2"
    } else {
        "TLSv1.3"
    }
}

/// The context of a server for scripts, and a client without an identity that trusts it.
pub fn context_and_client() -> (SslContext, HttpsClient) {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: None,
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let client = client_builder(&authority).build().unwrap();
    (server_config.context(), client)
}
