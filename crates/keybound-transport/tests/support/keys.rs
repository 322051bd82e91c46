//! Valid and failing binding keys.
use keybound_keys::memory::MemoryKey;
use keybound_keys::{
    BindingKey, GatedKey, KeyError, KeyErrorKind, KeyGate, KeyStrength, SignatureScheme,
    SigningCost,
};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

/// A valid key, the same for all tests of a binary: generating one takes time.
pub fn shared_key() -> Arc<dyn BindingKey> {
    static KEY: OnceLock<Arc<MemoryKey>> = OnceLock::new();
    let key = KEY.get_or_init(|| Arc::new(MemoryKey::generate().unwrap()));
    Arc::clone(key) as Arc<dyn BindingKey>
}

/// A slow key that hangs until the sender is dropped, behind a gate with a timeout of zero, and the number of its signatures.
pub fn hanging_key() -> (Arc<dyn BindingKey>, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let signature_calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&signature_calls);
    let key = CallbackKey::new(SigningCost::Slow, move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = released.lock().unwrap().recv();
        Err(KeyError::new(KeyErrorKind::Failed, "released"))
    });
    let key = GatedKey::with_gate(key, KeyGate::new(Duration::ZERO));
    (key, release, signature_calls)
}

type Sign = dyn Fn(SignatureScheme, &[u8]) -> Result<Vec<u8>, KeyError> + Send + Sync;

/// A key with the public key of [`shared_key`], whose signatures come from a callback.
pub struct CallbackKey {
    public: Arc<dyn BindingKey>,
    cost: SigningCost,
    sign: Box<Sign>,
}

impl CallbackKey {
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

impl BindingKey for CallbackKey {
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
        "callback"
    }

    fn signing_cost(&self) -> SigningCost {
        self.cost
    }
}

impl fmt::Debug for CallbackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackKey")
    }
}
