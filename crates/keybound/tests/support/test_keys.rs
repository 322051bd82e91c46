//! Binding keys and an attestation provider for tests.
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

/// One software key for all cases: creating keys is slow and not their subject.
pub fn shared_key() -> ProviderChain {
    static KEY: LazyLock<Arc<MemoryKey>> =
        LazyLock::new(|| Arc::new(MemoryKey::generate().unwrap()));
    ProviderChain::new(vec![Arc::new(SingleKeyProvider(Arc::clone(&*KEY) as _))])
}

pub fn slow_key() -> ProviderChain {
    let key = SlowKey(MemoryKey::generate().unwrap());
    ProviderChain::new(vec![Arc::new(SingleKeyProvider(Arc::new(key)))])
}

#[derive(Debug)]
struct SingleKeyProvider(Arc<dyn BindingKey>);

impl KeyProvider for SingleKeyProvider {
    fn strength(&self) -> KeyStrength {
        self.0.strength()
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        Ok(Arc::clone(&self.0))
    }
}

/// A key that a caller implements and that may block: its connections run on a separate thread.
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

/// Returns a new text in the form of a JWT for every key.
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
