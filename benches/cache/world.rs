//! Keybound's side: clients of one emulator, and what they ask for.
use keybound::{
    BindingKey, Environment, KeyError, KeyProvider, KeyStrength, ManagedIdentityClient, Pop,
    ProviderChain, TokenRequest, TrustAnchors,
};
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
    pub fn new() -> Self {
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
            key: Arc::new(MemoryKey::generate().expect("a key")),
        }
    }

    /// A client that has nothing but the key.
    pub fn client(&self) -> ManagedIdentityClient {
        let key = AtHand(Arc::clone(&self.key));
        client(self.emulator.ready().imds.as_str(), self.trust.clone(), key)
    }

    /// A client of another IMDS.
    pub fn client_of(&self, imds: &str) -> ManagedIdentityClient {
        client(imds, self.trust.clone(), AtHand(Arc::clone(&self.key)))
    }
}

fn client(imds: &str, trust: TrustAnchors, key: AtHand) -> ManagedIdentityClient {
    ManagedIdentityClient::builder()
        .environment(Environment::empty())
        .imds_endpoint(imds)
        .key_providers(ProviderChain::new(vec![Arc::new(key)]))
        .trust(trust)
        .retries(false)
        .build()
        .expect("a client")
}

/// A bearer token, as azure_core knows no other.
pub fn request(resource: usize) -> TokenRequest {
    TokenRequest::new(scope(resource)).bearer_over_mtls(certificate())
}

/// What is wanted of the certificate.
pub fn certificate() -> Pop {
    Pop::unattested().min_strength(KeyStrength::Software)
}

pub fn scope(resource: usize) -> String {
    format!("https://resource-{resource:04}.example.net/.default")
}

/// Has a client remember the tokens of so many resources.
pub async fn fill(client: &ManagedIdentityClient, resources: usize) {
    for resource in 0..resources {
        let token = client.acquire_token(request(resource)).await;
        token.expect("a token");
    }
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
