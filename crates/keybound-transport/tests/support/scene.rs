//! The usual cast: a server that answers, and a client with a certificate.
use super::client_builder;
use super::keys::shared_key;
use super::pki::Authority;
use super::server::{Asks, Manners, Server, hex, resource};
use keybound_transport::HttpsClient;
use openssl::sha::sha256;
use openssl::ssl::{SslContext, SslVersion};

pub const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

/// A server of one authority and a client with a certificate of another, which the server trusts.
pub struct Scene {
    pub server: Server,
    pub client: HttpsClient,
    /// SHA-256 of the client's certificate.
    pub thumbprint: String,
}

pub async fn scene(version: SslVersion, asks: Asks) -> Scene {
    let authority = Authority::new("test authority");
    let clients = Authority::new("authority of clients");
    let manners = Manners {
        leaf: authority.server("localhost"),
        version: Some(version),
        asks,
        clients: clients.clone(),
    };
    let identity = clients.client("client", shared_key());
    let thumbprint = hex(&sha256(identity.certificate().der()));
    let client = client_builder(&authority)
        .identity(identity)
        .build()
        .unwrap();
    Scene {
        server: resource(manners.context()).await,
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

/// A server's context and a client without an identity that trusts it, for scripts.
pub fn bare() -> (SslContext, HttpsClient) {
    let authority = Authority::new("test authority");
    let manners = Manners {
        leaf: authority.server("localhost"),
        version: None,
        asks: Asks::Nothing,
        clients: authority.clone(),
    };
    let client = client_builder(&authority).build().unwrap();
    (manners.context(), client)
}
