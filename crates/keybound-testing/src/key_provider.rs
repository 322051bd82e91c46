//! A provider of one key.
use keybound_keys::{BindingKey, KeyError, KeyProvider, KeyStrength, ProviderChain};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Opens the same key at each call.
#[derive(Debug)]
pub struct FixedKeyProvider {
    key: Arc<dyn BindingKey>,
    at_once: bool,
    opened: AtomicUsize,
}

impl FixedKeyProvider {
    /// A provider of this key.
    pub fn new(key: Arc<dyn BindingKey>) -> Self {
        Self {
            key,
            at_once: false,
            opened: AtomicUsize::new(0),
        }
    }

    /// Opens the key without blocking: the client then calls it in the event loop.
    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// A chain with only a provider of this key.
    pub fn chain(key: Arc<dyn BindingKey>) -> ProviderChain {
        ProviderChain::new(vec![Arc::new(Self::new(key))])
    }

    /// How often the key was opened.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl KeyProvider for FixedKeyProvider {
    fn strength(&self) -> KeyStrength {
        self.key.strength()
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::clone(&self.key))
    }

    fn opens_at_once(&self) -> bool {
        self.at_once
    }

    fn is_simulated(&self) -> bool {
        self.key.is_simulated()
    }
}
