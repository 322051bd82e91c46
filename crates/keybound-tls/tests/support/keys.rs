//! Binding keys, good and bad.
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, KeyError, KeyStrength, SignatureScheme, SigningCost};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A good key, the same for all tests of a binary: making one takes time.
pub fn shared_key() -> Arc<dyn BindingKey> {
    static KEY: OnceLock<Arc<MemoryKey>> = OnceLock::new();
    let key = KEY.get_or_init(|| Arc::new(MemoryKey::generate().unwrap()));
    Arc::clone(key) as Arc<dyn BindingKey>
}

type Sign = dyn Fn(SignatureScheme, &[u8]) -> Result<Vec<u8>, KeyError> + Send + Sync;

/// A key with another's public half whose signatures come from a function.
pub struct OddKey {
    public: Arc<dyn BindingKey>,
    cost: SigningCost,
    sign: Box<Sign>,
}

impl OddKey {
    pub fn new(
        cost: SigningCost,
        sign: impl Fn(SignatureScheme, &[u8]) -> Result<Vec<u8>, KeyError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            public: shared_key(),
            cost,
            sign: Box::new(sign),
        })
    }
}

impl BindingKey for OddKey {
    fn public_key_der(&self) -> &[u8] {
        self.public.public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        (self.sign)(scheme, digest)
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn id(&self) -> &'static str {
        "odd"
    }

    fn signing_cost(&self) -> SigningCost {
        self.cost
    }
}

impl fmt::Debug for OddKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OddKey")
    }
}
