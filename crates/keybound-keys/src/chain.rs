use crate::{BindingKey, KeyError, KeyErrorKind, KeyStrength};
use std::fmt;
use std::sync::Arc;

/// A source of binding keys of one strength.
pub trait KeyProvider: Send + Sync + fmt::Debug {
    /// How well its keys are protected.
    fn strength(&self) -> KeyStrength;

    /// Opens the host's key, or makes one. It may block; call it off the event loop.
    ///
    /// # Errors
    /// [`KeyErrorKind::Unavailable`] where this host has no such key (the chain then goes on), any other kind where
    /// it should have one and fails (the chain then stops: a failure is not a reason for a weaker key).
    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError>;
}

/// Providers, from which the host's best key is taken.
#[derive(Clone, Debug)]
pub struct ProviderChain {
    providers: Vec<Arc<dyn KeyProvider>>,
}

impl ProviderChain {
    /// A chain of these providers, tried strongest first; of equal strength, in the order given.
    pub fn new(mut providers: Vec<Arc<dyn KeyProvider>>) -> Self {
        providers.sort_by_key(|provider| std::cmp::Reverse(provider.strength()));
        Self { providers }
    }

    /// What this platform offers. On every platform: a key in memory, made anew for each process. KeyGuard and TPM keys
    /// come with their providers.
    pub fn platform() -> Self {
        Self::new(vec![Arc::new(crate::memory::MemoryKeyProvider::new())])
    }

    /// Opens the best key and checks it against the floor.
    ///
    /// # Errors
    /// [`KeyErrorKind::Unavailable`] where no provider has a key, [`KeyErrorKind::TooWeak`] where the best one is below
    /// the floor, or the failure of a provider that should have had one.
    pub fn open(&self, floor: KeyStrength) -> Result<Arc<dyn BindingKey>, KeyError> {
        for provider in &self.providers {
            if provider.strength() < floor {
                return Err(too_weak(provider.strength(), floor));
            }
            match provider.open() {
                Ok(key) if key.strength() >= floor => {
                    tracing::debug!(strength = %key.strength(), simulated = key.is_simulated(), "binding key opened");
                    return Ok(key);
                }
                Ok(key) => return Err(too_weak(key.strength(), floor)),
                Err(error) if error.kind() == KeyErrorKind::Unavailable => {
                    tracing::debug!(strength = %provider.strength(), %error, "no such key on this host");
                }
                Err(error) => return Err(error),
            }
        }
        Err(KeyError::new(
            KeyErrorKind::Unavailable,
            "no provider offers a binding key on this host",
        ))
    }
}

fn too_weak(best: KeyStrength, floor: KeyStrength) -> KeyError {
    KeyError::new(
        KeyErrorKind::TooWeak,
        format!("the best key of this host is {best}, the floor asked for is {floor}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SignatureScheme;

    #[derive(Debug)]
    struct Fake(KeyStrength, Option<KeyErrorKind>);

    impl KeyProvider for Fake {
        fn strength(&self) -> KeyStrength {
            self.0
        }
        fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
            match self.1 {
                Some(kind) => Err(KeyError::new(kind, "fake")),
                None => Ok(Arc::new(FakeKey(self.0))),
            }
        }
    }

    #[derive(Debug)]
    struct FakeKey(KeyStrength);

    impl BindingKey for FakeKey {
        fn public_key_der(&self) -> &[u8] {
            &[]
        }
        fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
            Err(KeyError::new(KeyErrorKind::Failed, "fake"))
        }
        fn strength(&self) -> KeyStrength {
            self.0
        }
        fn id(&self) -> &str {
            "fake"
        }
    }

    fn chain(providers: &[(KeyStrength, Option<KeyErrorKind>)]) -> ProviderChain {
        ProviderChain::new(
            providers
                .iter()
                .map(|(s, e)| Arc::new(Fake(*s, *e)) as _)
                .collect(),
        )
    }

    #[test]
    fn the_best_key_is_taken_whatever_the_floor() {
        use KeyStrength::{Hardware, KeyGuard, Software};
        let chain = chain(&[(Software, None), (KeyGuard, None), (Hardware, None)]);
        assert_eq!(chain.open(Software).unwrap().strength(), KeyGuard);
    }

    #[test]
    fn no_weaker_key() {
        use KeyStrength::{Hardware, KeyGuard, Software};
        let absent = Some(KeyErrorKind::Unavailable);
        let weak = chain(&[(KeyGuard, absent), (Software, None)]);
        assert_eq!(
            weak.open(KeyGuard).unwrap_err().kind(),
            KeyErrorKind::TooWeak
        );
        assert_eq!(
            weak.open(Hardware).unwrap_err().kind(),
            KeyErrorKind::TooWeak
        );
        assert_eq!(weak.open(Software).unwrap().strength(), Software);
        // A failure is not a reason for a weaker key.
        let failing = chain(&[(KeyGuard, Some(KeyErrorKind::Failed)), (Software, None)]);
        assert_eq!(
            failing.open(Software).unwrap_err().kind(),
            KeyErrorKind::Failed
        );
        assert_eq!(
            chain(&[]).open(Software).unwrap_err().kind(),
            KeyErrorKind::Unavailable
        );
    }
}
