//! Failing and hanging binding keys.
use keybound_keys::{
    BindingKey, GatedKey, KeyError, KeyErrorKind, KeyGate, SignatureScheme, SigningCost,
};
use keybound_testing::TestKey;
pub use keybound_testing::shared_key;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A slow key that hangs until the sender is dropped, behind a gate with a timeout of zero, and the number of its signatures.
pub fn hanging_key() -> (Arc<dyn BindingKey>, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let signature_calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&signature_calls);
    let key = callback_key(SigningCost::Slow, move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = released.lock().unwrap().recv();
        Err(KeyError::new(KeyErrorKind::Failed, "released"))
    });
    let key = GatedKey::with_gate(key, KeyGate::new(Duration::ZERO));
    (key, release, signature_calls)
}

/// A key with the public key of [`shared_key`], whose signatures come from a callback.
pub fn callback_key(
    cost: SigningCost,
    sign: impl Fn(SignatureScheme, &[u8]) -> Result<Vec<u8>, KeyError> + Send + Sync + 'static,
) -> Arc<TestKey> {
    Arc::new(TestKey::new().with_signing_cost(cost).with_sign(sign))
}
