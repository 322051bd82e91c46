use crate::cache::{BorrowedTokenKey, DualTime, IdentityState, SharedState};
use crate::request::{KeyRequirements, TokenRequest};
use crate::settings::Settings;
use keybound_core::{Attestation, Result, TokenCacheKey};
use std::sync::Arc;

/// The settings and caches of a client, shared by its clones.
pub(crate) struct ClientContext {
    pub(crate) settings: Settings,
    pub(crate) state: SharedState,
    pub(crate) identity: Arc<IdentityState>,
}

impl ClientContext {
    /// The time on both clocks.
    pub(crate) fn now(&self) -> DualTime {
        self.settings.clocks.now()
    }

    /// A random number from 0 to 1, which spreads refreshes and retries.
    pub(crate) fn chance(&self) -> f64 {
        self.settings.chance.next()
    }

    /// The cache key of a request.
    pub(crate) fn token_key(&self, request: &TokenRequest) -> Result<TokenCacheKey> {
        let scope = request.scope.clone()?;
        Ok(TokenCacheKey {
            token_type: request.token_type,
            attestation: self.attestation(request.requirements),
            min_strength: request.requirements.min_strength,
            scope,
        })
    }

    /// The same key without an allocation.
    pub(super) fn borrowed_key<'a>(
        &self,
        request: &TokenRequest,
        scope: &'a str,
    ) -> BorrowedTokenKey<'a> {
        BorrowedTokenKey {
            scope,
            token_type: request.token_type,
            attestation: self.attestation(request.requirements),
            min_strength: request.requirements.min_strength,
        }
    }

    /// The kind of attestation that requirements mean for this client.
    pub(crate) fn attestation(&self, requirements: KeyRequirements) -> Attestation {
        if !requirements.attested {
            Attestation::None
        } else if self.settings.shared.attests_simulated() {
            Attestation::Simulated
        } else {
            Attestation::Attested
        }
    }
}
