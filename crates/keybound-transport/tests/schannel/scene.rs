//! The usual cast.
use crate::native::{LegacyKey, sound, trusted};
use crate::support::pki::{Authority, Leaf};
use crate::support::server::{Asks, Manners, Server, hex, resource};
use keybound_transport::{ClientIdentity, HttpsClient, HttpsClientBuilder, TlsEngine};
use openssl::sha::sha256;
use std::sync::LazyLock;

/// A server of this certificate that trusts the clients of an authority.
pub async fn server(leaf: Leaf, clients: &Authority, asks: Asks) -> Server {
    resource(manners(leaf, clients, asks).context()).await
}

pub fn manners(leaf: Leaf, clients: &Authority, asks: Asks) -> Manners {
    Manners {
        leaf,
        version: None,
        asks,
        clients: clients.clone(),
    }
}

/// A server that Windows trusts, and that trusts our clients.
pub async fn good_server(asks: Asks) -> Server {
    server(sound(|| trusted().server("localhost")), clients(), asks).await
}

pub fn builder() -> HttpsClientBuilder {
    HttpsClient::builder().engine(TlsEngine::SChannel)
}

/// The authority of the clients, the same for all tests as the key is.
pub fn clients() -> &'static Authority {
    static CLIENTS: LazyLock<Authority> = LazyLock::new(|| Authority::new("authority of clients"));
    &CLIENTS
}

/// A client with a certificate of that authority, and the certificate's SHA-256.
pub fn client() -> (HttpsClient, String) {
    static IDENTITY: LazyLock<ClientIdentity> =
        LazyLock::new(|| clients().client("client", LegacyKey::shared()));
    let thumbprint = hex(&sha256(IDENTITY.certificate().der()));
    let client = builder().identity(IDENTITY.clone()).build().unwrap();
    (client, thumbprint)
}
