use super::pki::Authority;
use keybound_transport::{
    ClientIdentity, HttpsClient, HttpsSettings, ProxyConfig, TlsEngine, TransportError,
    TrustAnchors, VersionPolicy,
};
use std::time::Duration;

/// Builds an [`HttpsClient`].
#[derive(Default)]
pub struct ClientBuilder {
    identity: Option<ClientIdentity>,
    settings: HttpsSettings,
}

/// A builder of an OpenSSL client that trusts the authority.
pub fn client_builder(authority: &Authority) -> ClientBuilder {
    ClientBuilder::default()
        .engine(TlsEngine::OpenSsl)
        .trust(TrustAnchors::system().with_pem(&authority.pem()).unwrap())
}

impl ClientBuilder {
    pub fn identity(mut self, identity: impl Into<Option<ClientIdentity>>) -> Self {
        self.identity = identity.into();
        self
    }

    pub fn trust(mut self, trust: TrustAnchors) -> Self {
        self.settings.trust = trust;
        self
    }

    pub fn versions(mut self, versions: VersionPolicy) -> Self {
        self.settings.versions = versions;
        self
    }

    pub fn engine(mut self, engine: TlsEngine) -> Self {
        self.settings.engine = engine;
        self
    }

    pub fn proxy(mut self, proxy: ProxyConfig) -> Self {
        self.settings.proxy = proxy;
        self
    }

    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    pub fn build(self) -> Result<HttpsClient, TransportError> {
        HttpsClient::new(self.identity, self.settings)
    }
}
