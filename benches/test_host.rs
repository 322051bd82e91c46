//! An emulator, and clients without cached certificates and tokens.
use keybound::confidential::ClientCredential;
use keybound::keys::BindingKey;
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{
    ConfidentialClient, Environment, KeyRequirements, KeyStrength, ManagedIdentityClient,
};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_keys::memory::MemoryKey;
use keybound_testing::FixedKeyProvider;
use std::sync::Arc;

/// An emulator, on its own threads, and an existing key.
pub struct TestHost {
    emulator: Emulator,
    trust: TrustAnchors,
    key: Arc<dyn BindingKey>,
}

impl TestHost {
    /// A host with a key in memory.
    #[expect(
        clippy::new_without_default,
        reason = "it starts servers, unlike a default"
    )]
    pub fn new() -> Self {
        Self::with_key(Arc::new(MemoryKey::generate().expect("a key")))
    }

    /// A host with this key. Certificates need no attestation, and tokens are valid for a day.
    pub fn with_key(key: Arc<dyn BindingKey>) -> Self {
        let mut config = Config::default();
        config.imds.attestation = AttestationRule::Optional;
        config.entra.token_lifetime_seconds = 86_400;
        let emulator = Emulator::start(config).expect("an emulator");
        let trust = TrustAnchors::system()
            .with_pem(emulator.ca_pem())
            .expect("the CA");
        Self {
            emulator,
            trust,
            key,
        }
    }

    /// Adds a trust anchor for its clients.
    #[must_use]
    pub fn with_trust_anchor(mut self, pem: &[u8]) -> Self {
        self.trust = self.trust.with_pem(pem).expect("the CA");
        self
    }

    /// The emulator.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// The URL of its IMDS.
    pub fn imds(&self) -> &str {
        self.emulator.ready().imds.as_str()
    }

    /// The trust anchors of its clients.
    pub fn trust(&self) -> &TrustAnchors {
        &self.trust
    }

    /// A new client.
    pub fn client(&self) -> ManagedIdentityClient {
        self.client_with_imds(self.imds())
    }

    /// A new client of the emulator's app registration, whose assertions are tokens of this identity.
    pub fn app_client(&self, identity: &ManagedIdentityClient) -> ConfidentialClient {
        let config = Config::default();
        let tenant = &config.tenants[0];
        let (tenant_id, app_id) = (tenant.id.as_str(), tenant.apps[0].client_id.as_str());
        let credential = ClientCredential::managed_identity(identity);
        ConfidentialClient::builder(tenant_id, app_id, credential)
            .authority(self.emulator.ready().sts.as_str())
            .environment(Environment::empty())
            .build()
            .expect("a client")
    }

    /// A new client with another IMDS.
    pub fn client_with_imds(&self, imds: &str) -> ManagedIdentityClient {
        client(imds, &self.trust, Arc::clone(&self.key))
    }
}

/// A new client with these settings.
pub fn client(imds: &str, trust: &TrustAnchors, key: Arc<dyn BindingKey>) -> ManagedIdentityClient {
    ManagedIdentityClient::builder()
        .tls_engine(TlsEngine::OpenSsl)
        .environment(Environment::empty())
        .imds_endpoint(imds)
        .key_providers(FixedKeyProvider::chain(key))
        .trust(trust.clone())
        .retries(false)
        .build()
        .expect("a client")
}

/// The requirements of all benchmarks: an unattested key in memory.
pub fn unattested() -> KeyRequirements {
    KeyRequirements::unattested().min_strength(KeyStrength::Software)
}
