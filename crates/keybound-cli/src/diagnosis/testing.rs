//! What the tests of `doctor` and `selftest` share.
use keybound::store::{BindingCacheKey, BindingStore, StoredBinding};
use keybound::{Attestation, Certificate};
use keybound_core::lock;
use std::sync::Mutex;

/// Certificates of one identity, by their attestation.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore(Mutex<Vec<(Attestation, StoredBinding)>>);

impl MemoryStore {
    pub(crate) fn entries(&self) -> Vec<StoredBinding> {
        let entries = lock(&self.0).clone();
        entries.into_iter().map(|(_, entry)| entry).collect()
    }
}

impl BindingStore for MemoryStore {
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding> {
        let entries = lock(&self.0).clone().into_iter();
        let of_key = entries.filter(|(attestation, _)| *attestation == key.attestation);
        of_key.map(|(_, entry)| entry).collect()
    }

    fn save(&self, key: &BindingCacheKey, entry: &StoredBinding) {
        lock(&self.0).push((key.attestation, entry.clone()));
    }

    fn remove(&self, _: &BindingCacheKey, certificate: &Certificate) {
        let mut entries = lock(&self.0);
        entries.retain(|(_, entry)| entry.certificate != *certificate);
    }
}
