//! The certificates of an identity in the store, for diagnostics.
use super::ClientContext;
use crate::store::{StoredCertificate, StoredState};
use keybound_core::{Attestation, BindingCacheKey, Result};
use std::sync::Arc;

impl ClientContext {
    /// The stored certificates of the identity, attested ones first. `None` without a store.
    pub(crate) async fn stored_certificates(&self) -> Result<Option<Vec<StoredCertificate>>> {
        let Some(store) = self.settings.store.as_ref() else {
            return Ok(None);
        };
        let calls = &self.state.inner().store_calls;
        let mut found = Vec::new();
        for attestation in ATTESTATIONS {
            let key = BindingCacheKey {
                identity: self.settings.identity.clone(),
                attestation,
            };
            let entries = calls.load(Arc::clone(store), key).await?;
            found.extend(entries.into_iter().map(|binding| StoredCertificate {
                state: StoredState::of(&binding.certificate, self.now().wall),
                binding,
                attestation,
            }));
        }
        Ok(Some(found))
    }
}

const ATTESTATIONS: [Attestation; 3] = [
    Attestation::Attested,
    Attestation::None,
    Attestation::Simulated,
];
