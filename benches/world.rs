//! An emulator, and clients of it that have nothing but a key.
use keybound::keys::{BindingKey, KeyError, KeyProvider, ProviderChain};
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{Environment, KeyRequirements, KeyStrength, ManagedIdentityClient};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_keys::memory::MemoryKey;
use std::sync::Arc;

/// An emulator, which runs on threads of its own, and a key at hand.
pub struct World {
    emulator: Emulator,
    trust: TrustAnchors,
    key: Arc<dyn BindingKey>,
}

impl World {
    /// With a key in memory.
    #[expect(
        clippy::new_without_default,
        reason = "it starts servers, which nobody expects of a default"
    )]
    pub fn new() -> Self {
        Self::with_key(Arc::new(MemoryKey::generate().expect("a key")))
    }

    /// With a key of the caller's. Certificates need no attestation, tokens live for a day.
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

    /// Has its clients trust one authority more.
    #[must_use]
    pub fn trusting(mut self, pem: &[u8]) -> Self {
        self.trust = self.trust.with_pem(pem).expect("the CA");
        self
    }

    /// The emulator.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// The address of its IMDS.
    pub fn imds(&self) -> &str {
        self.emulator.ready().imds.as_str()
    }

    /// What its clients trust.
    pub fn trust(&self) -> &TrustAnchors {
        &self.trust
    }

    /// A client that has nothing but the key.
    pub fn client(&self) -> ManagedIdentityClient {
        self.client_of(self.imds())
    }

    /// A client of another IMDS.
    pub fn client_of(&self, imds: &str) -> ManagedIdentityClient {
        client(imds, &self.trust, Arc::clone(&self.key))
    }
}

/// A client that has nothing but a key.
pub fn client(imds: &str, trust: &TrustAnchors, key: Arc<dyn BindingKey>) -> ManagedIdentityClient {
    ManagedIdentityClient::builder()
        .tls_engine(TlsEngine::OpenSsl)
        .environment(Environment::empty())
        .imds_endpoint(imds)
        .key_providers(ProviderChain::new(vec![Arc::new(AtHand(key))]))
        .trust(trust.clone())
        .retries(false)
        .build()
        .expect("a client")
}

/// What all that is measured asks for: a key in memory, which nothing attests.
pub fn unattested() -> KeyRequirements {
    KeyRequirements::unattested().min_strength(KeyStrength::Software)
}

/// Hands out a key that was made before.
#[derive(Debug)]
struct AtHand(Arc<dyn BindingKey>);

impl KeyProvider for AtHand {
    fn strength(&self) -> KeyStrength {
        self.0.strength()
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        Ok(Arc::clone(&self.0))
    }
}
