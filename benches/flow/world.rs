//! The emulator that both sides talk to, and Keybound's side of the comparison.
use keybound::http::Request;
use keybound::{
    BindingKey, Environment, KeyError, KeyProvider, KeyStrength, ManagedIdentityClient, Pop,
    ProviderChain, RequestBody, TokenRequest, TrustAnchors,
};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_keys::memory::MemoryKey;
use std::sync::Arc;
use url::Url;

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
        let emulator = Emulator::start(config).expect("an emulator");
        let pem = std::fs::read(&emulator.ready().ca_file).expect("the CA");
        let trust = TrustAnchors::system().with_pem(&pem).expect("the CA");
        let key = Arc::new(MemoryKey::generate().expect("a key"));
        Self {
            emulator,
            trust,
            key,
        }
    }

    /// A client that has nothing but the key.
    pub fn client(&self) -> ManagedIdentityClient {
        ManagedIdentityClient::builder()
            .environment(Environment::empty())
            .imds_endpoint(self.emulator.ready().imds.as_str())
            .key_providers(ProviderChain::new(vec![Arc::new(AtHand(Arc::clone(
                &self.key,
            )))]))
            .trust(self.trust.clone())
            .build()
            .expect("a client")
    }

    pub fn request(&self) -> TokenRequest {
        TokenRequest::new("https://vault.azure.net")
            .proof_of_possession(Pop::unattested().min_strength(KeyStrength::Software))
    }

    pub fn secret_request(&self) -> Request<RequestBody> {
        Request::get(self.secret_url().as_str())
            .body(RequestBody::empty())
            .expect("a request")
    }

    pub fn imds(&self) -> Url {
        Url::parse(self.emulator.ready().imds.as_str()).expect("a URL")
    }

    pub fn secret_url(&self) -> Url {
        let vault = Url::parse(self.emulator.ready().vault.as_str()).expect("a URL");
        vault
            .join("/secrets/demo-secret?api-version=7.4")
            .expect("a URL")
    }

    pub fn ca_file(&self) -> &std::path::Path {
        &self.emulator.ready().ca_file
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
