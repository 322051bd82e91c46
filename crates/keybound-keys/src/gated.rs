use crate::{
    BindingKey, CngHandle, KeyError, KeyGate, KeyStrength, NativeCertificate, SignatureScheme,
    SigningCost,
};
use keybound_core::Certificate;
use std::any::Any;
use std::sync::Arc;

/// A key with the [`KeyGate`] that all its callers share, which [`BindingKey::gate`] returns. Its own methods
/// still block: callers that must not block run them through the gate.
#[derive(Debug)]
pub struct GatedKey {
    /// `Some` until the drop.
    key: Option<Arc<dyn BindingKey>>,
    gate: KeyGate,
}

impl GatedKey {
    /// Adds a gate, unless the key has one.
    pub fn wrap(key: Arc<dyn BindingKey>) -> Arc<dyn BindingKey> {
        Self::with_gate(key, KeyGate::default())
    }

    /// Adds this gate, unless the key has one. Keys that are opened one after the other share a gate, so that further handles
    /// of a key store that hangs do not block further threads.
    pub fn with_gate(key: Arc<dyn BindingKey>, gate: KeyGate) -> Arc<dyn BindingKey> {
        if key.gate().is_some() {
            return key;
        }
        let key = Some(key);
        Arc::new(Self { key, gate })
    }

    fn key(&self) -> &dyn BindingKey {
        self.key
            .as_deref()
            .expect("the key is present until the drop")
    }
}

/// Closing a key may block, and the last owner may be a task of the caller's runtime.
impl Drop for GatedKey {
    fn drop(&mut self) {
        let key = self.key.take();
        if key
            .as_ref()
            .is_some_and(|key| key.signing_cost() == SigningCost::Slow)
        {
            let closing = std::thread::Builder::new().name("keybound-key".into());
            // Without a thread the closure is dropped here, and the key with it.
            let _ = closing.spawn(move || drop(key));
        }
    }
}

impl BindingKey for GatedKey {
    fn public_key_der(&self) -> &[u8] {
        self.key().public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.key().sign(scheme, digest)
    }

    fn strength(&self) -> KeyStrength {
        self.key().strength()
    }

    fn id(&self) -> &str {
        self.key().id()
    }

    fn persistent_name(&self) -> Option<&str> {
        self.key().persistent_name()
    }

    fn is_current(&self) -> bool {
        self.key().is_current()
    }

    fn signing_cost(&self) -> SigningCost {
        self.key().signing_cost()
    }

    fn gate(&self) -> Option<&KeyGate> {
        Some(&self.gate)
    }

    fn is_simulated(&self) -> bool {
        self.key().is_simulated()
    }

    fn attestation_evidence(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.key().attestation_evidence()
    }

    fn cng_handle(&self) -> Option<CngHandle> {
        self.key().cng_handle()
    }

    fn native_certificate(
        &self,
        certificate: &Certificate,
    ) -> Option<Result<NativeCertificate, KeyError>> {
        self.key().native_certificate(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{self, ThreadId};

    /// Returns other values than the trait's defaults.
    #[derive(Debug)]
    struct NonDefault(crate::memory::MemoryKey);

    impl BindingKey for NonDefault {
        fn public_key_der(&self) -> &[u8] {
            self.0.public_key_der()
        }
        fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.0.sign(scheme, digest)
        }
        fn strength(&self) -> KeyStrength {
            KeyStrength::KeyGuard
        }
        fn id(&self) -> &'static str {
            "non-default"
        }
        fn persistent_name(&self) -> Option<&str> {
            Some("a name")
        }
        fn is_current(&self) -> bool {
            false
        }
        fn signing_cost(&self) -> SigningCost {
            SigningCost::Quick
        }
        fn is_simulated(&self) -> bool {
            true
        }
        fn attestation_evidence(&self) -> Option<&(dyn Any + Send + Sync)> {
            Some(self)
        }
    }

    #[test]
    fn delegates_to_the_key_and_adds_one_gate() {
        let key: Arc<dyn BindingKey> =
            Arc::new(NonDefault(crate::memory::MemoryKey::generate().unwrap()));
        assert!(key.gate().is_none());
        let gated = GatedKey::wrap(Arc::clone(&key));
        assert!(gated.gate().is_some());
        assert!(Arc::ptr_eq(&gated, &GatedKey::wrap(Arc::clone(&gated))));
        assert_eq!(gated.public_key_der(), key.public_key_der());
        assert_eq!(gated.strength(), KeyStrength::KeyGuard);
        assert_eq!(gated.id(), "non-default");
        assert_eq!(gated.persistent_name(), Some("a name"));
        assert!(!gated.is_current() && gated.is_simulated());
        assert_eq!(gated.signing_cost(), SigningCost::Quick);
        let evidence = gated.attestation_evidence().unwrap();
        assert!(evidence.is::<NonDefault>());
        let scheme = SignatureScheme::PssSha256;
        let signature = gated.sign(scheme, &[7; 32]).unwrap();
        assert!(verify(key.public_key_der(), scheme, &[7; 32], &signature));
        let default = GatedKey::wrap(Arc::new(crate::memory::MemoryKey::generate().unwrap()));
        assert!(default.is_current() && !default.is_simulated());
    }

    /// Reports the thread that drops it.
    #[derive(Debug)]
    struct Closing(SigningCost, Sender<ThreadId>);

    impl BindingKey for Closing {
        fn public_key_der(&self) -> &[u8] {
            &[]
        }
        fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
            unreachable!("the test does not sign")
        }
        fn strength(&self) -> KeyStrength {
            KeyStrength::KeyGuard
        }
        fn id(&self) -> &'static str {
            "closing"
        }
        fn signing_cost(&self) -> SigningCost {
            self.0
        }
    }

    impl Drop for Closing {
        fn drop(&mut self) {
            self.1.send(thread::current().id()).unwrap();
        }
    }

    #[test]
    fn only_slow_keys_are_closed_on_another_thread() {
        for (cost, elsewhere) in [(SigningCost::Slow, true), (SigningCost::Quick, false)] {
            let (closing, closed) = channel();
            drop(GatedKey::wrap(Arc::new(Closing(cost, closing))));
            let closer = closed.recv().unwrap();
            assert_eq!(closer != thread::current().id(), elsewhere, "{cost:?}");
        }
    }
}
