//! Servers and clients with SChannel.
use crate::native::{LegacyKey, trusted, wine_compatible};
use crate::support::ClientBuilder;
use crate::support::pki::{Authority, ClientIdentities as _, Leaf};
use crate::support::server::{ClientAuth, Server, ServerConfig, hex, resource_server};
use keybound_transport::{ClientIdentity, HttpsClient, TlsEngine};
use openssl::sha::sha256;
use std::sync::LazyLock;

/// A server with this certificate that trusts the clients of an authority.
pub async fn server(leaf: Leaf, clients: &Authority, client_auth: ClientAuth) -> Server {
    resource_server(server_config(leaf, clients, client_auth).context()).await
}

pub fn server_config(leaf: Leaf, clients: &Authority, client_auth: ClientAuth) -> ServerConfig {
    ServerConfig {
        leaf,
        version: None,
        client_auth,
        client_ca: clients.clone(),
    }
}

/// A server that Windows trusts, and that trusts the clients of [`clients`].
pub async fn trusted_server(client_auth: ClientAuth) -> Server {
    server(
        wine_compatible(|| trusted().server("localhost")),
        clients(),
        client_auth,
    )
    .await
}

pub fn builder() -> ClientBuilder {
    ClientBuilder::default().engine(TlsEngine::SChannel)
}

/// The authority of the clients, the same for all tests, like the key.
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
