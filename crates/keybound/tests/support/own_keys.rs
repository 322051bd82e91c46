//! Binding keys and an attestation of the tests' own making.
use keybound::KeyStrength;
use keybound::attestation::{
    AttestationFuture, AttestationProvider, AttestationRequest, AttestationToken,
};
use keybound::keys::{
    BindingKey, KeyError, KeyProvider, ProviderChain, SignatureScheme, SigningCost,
};
use keybound_keys::memory::MemoryKey;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// One software key for all conversations: making keys is not what they are about.
pub fn shared_key() -> ProviderChain {
    static KEY: LazyLock<Arc<MemoryKey>> =
        LazyLock::new(|| Arc::new(MemoryKey::generate().unwrap()));
    ProviderChain::new(vec![Arc::new(AtHand(Arc::clone(&*KEY) as _))])
}

pub fn slow_key() -> ProviderChain {
    let key = SlowKey(MemoryKey::generate().unwrap());
    ProviderChain::new(vec![Arc::new(AtHand(Arc::new(key)))])
}

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

/// A caller's own kind of key, which may block: its connections are driven on a thread of their own.
#[derive(Debug)]
struct SlowKey(MemoryKey);

impl BindingKey for SlowKey {
    fn public_key_der(&self) -> &[u8] {
        self.0.public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.sign(scheme, digest)
    }

    fn strength(&self) -> KeyStrength {
        self.0.strength()
    }

    fn id(&self) -> &str {
        self.0.id()
    }

    fn signing_cost(&self) -> SigningCost {
        SigningCost::Slow
    }
}

/// Vouches for every key by a text in the form of a JWT, another one each time.
#[derive(Debug)]
pub struct FakeAttestation;

impl AttestationProvider for FakeAttestation {
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        let token = format!(
            "eyJhbGciOiJSUzI1NiJ9.{}.{}",
            Uuid::new_v4().simple(),
            Uuid::new_v4().simple()
        );
        assert_eq!(request.endpoint.scheme(), "https");
        Box::pin(async move { AttestationToken::new(token) })
    }
}
