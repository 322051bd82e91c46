//! Keys that differ from a key in memory as a test requires.
use keybound_keys::memory::MemoryKey;
use keybound_keys::{
    BindingKey, KeyError, KeyErrorKind, KeyGate, KeyStrength, SignatureScheme, SigningCost,
};
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// Returns the same key in memory for each test of a process: generating one takes time.
pub fn shared_key() -> Arc<dyn BindingKey> {
    static KEY: LazyLock<Arc<MemoryKey>> =
        LazyLock::new(|| Arc::new(MemoryKey::generate().unwrap()));
    Arc::clone(&KEY) as _
}

type Sign = dyn Fn(SignatureScheme, &[u8]) -> Result<Vec<u8>, KeyError> + Send + Sync;

/// A key that behaves like another one, except for what was changed.
pub struct TestKey {
    key: Arc<dyn BindingKey>,
    sign: Option<Box<Sign>>,
    strength: KeyStrength,
    signing_cost: SigningCost,
    persistent_name: Option<String>,
    gate: Option<KeyGate>,
    simulated: bool,
    failing: AtomicBool,
    replaced: AtomicBool,
    signatures: AtomicUsize,
}

impl TestKey {
    /// Behaves like the [`shared_key`].
    pub fn new() -> Self {
        Self::over(shared_key())
    }

    /// Behaves like this key.
    pub fn over(key: Arc<dyn BindingKey>) -> Self {
        Self {
            sign: None,
            strength: key.strength(),
            signing_cost: key.signing_cost(),
            persistent_name: key.persistent_name().map(str::to_owned),
            gate: key.gate().cloned(),
            simulated: key.is_simulated(),
            key,
            failing: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            signatures: AtomicUsize::new(0),
        }
    }

    /// Signs by a callback.
    pub fn with_sign(
        mut self,
        sign: impl Fn(SignatureScheme, &[u8]) -> Result<Vec<u8>, KeyError> + Send + Sync + 'static,
    ) -> Self {
        self.sign = Some(Box::new(sign));
        self
    }

    /// Changes the strength.
    pub fn with_strength(mut self, strength: KeyStrength) -> Self {
        self.strength = strength;
        self
    }

    /// Changes the signing cost.
    pub fn with_signing_cost(mut self, cost: SigningCost) -> Self {
        self.signing_cost = cost;
        self
    }

    /// Changes the persistent name.
    pub fn with_persistent_name(mut self, name: Option<&str>) -> Self {
        self.persistent_name = name.map(str::to_owned);
        self
    }

    /// Changes the gate.
    pub fn with_gate(mut self, gate: Option<KeyGate>) -> Self {
        self.gate = gate;
        self
    }

    /// Changes whether it is simulated.
    pub fn with_simulated(mut self, simulated: bool) -> Self {
        self.simulated = simulated;
        self
    }

    /// Fails to sign from now on.
    pub fn fail(&self) {
        self.failing.store(true, Ordering::Relaxed);
    }

    /// Its name opens another key from now on.
    pub fn replace(&self) {
        self.replaced.store(true, Ordering::Relaxed);
    }

    /// The number of signatures that were requested.
    pub fn signatures(&self) -> usize {
        self.signatures.load(Ordering::Relaxed)
    }
}

impl Default for TestKey {
    fn default() -> Self {
        Self::new()
    }
}

impl BindingKey for TestKey {
    fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        if self.failing.load(Ordering::Relaxed) {
            return Err(KeyError::new(KeyErrorKind::Failed, "the key is gone"));
        }
        match &self.sign {
            Some(sign) => sign(scheme, digest),
            None => self.key.sign(scheme, digest),
        }
    }

    fn strength(&self) -> KeyStrength {
        self.strength
    }

    fn id(&self) -> &str {
        self.key.id()
    }

    fn persistent_name(&self) -> Option<&str> {
        self.persistent_name.as_deref()
    }

    fn is_current(&self) -> bool {
        !self.replaced.load(Ordering::Relaxed)
    }

    fn signing_cost(&self) -> SigningCost {
        self.signing_cost
    }

    fn gate(&self) -> Option<&KeyGate> {
        self.gate.as_ref()
    }

    fn is_simulated(&self) -> bool {
        self.simulated
    }

    fn attestation_evidence(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.key.attestation_evidence()
    }
}

impl fmt::Debug for TestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestKey").finish_non_exhaustive()
    }
}
