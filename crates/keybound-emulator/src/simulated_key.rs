use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, KeyError, KeyProvider, KeyStrength, SignatureScheme, SigningCost};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Creates a simulated key on each call.
#[derive(Debug, Default)]
pub struct SimulatedKeyProvider(());

impl SimulatedKeyProvider {
    /// A provider of simulated keys.
    pub fn new() -> Self {
        Self::default()
    }
}

impl KeyProvider for SimulatedKeyProvider {
    fn strength(&self) -> KeyStrength {
        KeyStrength::KeyGuard
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        Ok(Arc::new(SimulatedKey::generate()?))
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

/// A key in memory in place of a KeyGuard key. [`is_simulated`] is true for it and everything derived from it. Only the
/// attestation service of the emulator attests it.
///
/// [`is_simulated`]: BindingKey::is_simulated
pub struct SimulatedKey {
    key: MemoryKey,
    id: String,
}

impl SimulatedKey {
    /// Generates a key, in some tens of milliseconds.
    ///
    /// # Errors
    /// If OpenSSL cannot generate it.
    pub fn generate() -> Result<Self, KeyError> {
        let key = MemoryKey::generate()?;
        let id = key.id().replacen("memory:", "simulated:", 1);
        Ok(Self { key, id })
    }
}

impl BindingKey for SimulatedKey {
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
        &self.id
    }

    fn signing_cost(&self) -> SigningCost {
        self.key.signing_cost()
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn attestation_evidence(&self) -> Option<&(dyn Any + Send + Sync)> {
        Some(self)
    }
}

impl fmt::Debug for SimulatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
