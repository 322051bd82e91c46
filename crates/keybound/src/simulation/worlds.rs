//! What attests simulated keys vouches for no others, and what attests others not for simulated ones.
use super::Leg;
use super::script::Script;
use super::world::{Services, Setup, World};
use crate::cache::tests::authority;
use crate::keys::{BindingKey, KeyError, KeyProvider, ProviderChain, SignatureScheme};
use crate::{
    Environment, ErrorKind, KeyRequirements, KeyStrength, ManagedIdentityClient, Stage,
    TokenRequest,
};
use keybound_attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::AttestationToken;
use keybound_keys::SigningCost;
use keybound_keys::memory::MemoryKey;
use keybound_transport::TrustAnchors;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
struct Keys {
    simulated: bool,
}

impl KeyProvider for Keys {
    fn opens_at_once(&self) -> bool {
        true
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::KeyGuard
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        Ok(Arc::new(Key {
            key: MemoryKey::generate()?,
            simulated: self.simulated,
        }))
    }
}

#[derive(Debug)]
struct Key {
    key: MemoryKey,
    simulated: bool,
}

impl BindingKey for Key {
    fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.key.sign(scheme, digest)
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::KeyGuard
    }

    fn id(&self) -> &str {
        self.key.id()
    }

    fn signing_cost(&self) -> SigningCost {
        SigningCost::Quick
    }

    fn is_simulated(&self) -> bool {
        self.simulated
    }
}

/// Attests whatever it is asked for.
#[derive(Debug)]
struct Attestor {
    simulated: bool,
    asked: AtomicUsize,
}

impl AttestationProvider for Attestor {
    fn attest<'a>(&'a self, _: AttestationRequest<'a>) -> AttestationFuture<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { AttestationToken::new("a.b.c".to_owned()) })
    }

    fn is_simulated(&self) -> bool {
        self.simulated
    }
}

#[tokio::test(start_paused = true)]
async fn attested_or_error_where_one_of_key_and_attestor_is_simulated() {
    let pem = authority();
    for (key, attestor) in [(true, true), (false, false), (true, false), (false, true)] {
        let world = World::new(Setup::default(), Script::default());
        let provider = Arc::new(Attestor {
            simulated: attestor,
            asked: AtomicUsize::default(),
        });
        let client = ManagedIdentityClient::builder()
            .environment(Environment::empty())
            // Where simulated keys have a place.
            .imds_endpoint("http://127.0.0.1:1")
            .trust(TrustAnchors::system().with_pem(&pem).unwrap())
            .key_providers(ProviderChain::new(vec![Arc::new(Keys { simulated: key })]))
            .attestation(Arc::clone(&provider) as _)
            .clock(Arc::clone(&world) as _)
            .simulated(Services(Arc::clone(&world)), 1)
            .build()
            .unwrap();
        let request = TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested());
        let got = client.acquire_token(&request).await;
        let asked = provider.asked.load(Ordering::Relaxed);
        if key == attestor {
            let token = got.unwrap();
            let binding = token.binding().unwrap();
            let word = if key { "simulated" } else { "attested" };
            assert_eq!((binding.attestation().as_str(), asked), (word, 1));
        } else {
            let error = got.unwrap_err();
            let is = (error.kind(), error.stage());
            assert_eq!(is, (ErrorKind::AttestationUnavailable, Stage::Attestation));
            assert_eq!((asked, world.calls(Leg::Issue).len()), (0, 0));
        }
    }
}
