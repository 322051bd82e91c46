use crate::cache::{BorrowedTokenKey, DualTime, IdentityState, SharedState};
use crate::request::{KeyRequirements, TokenRequest};
use crate::settings::Settings;
use keybound_core::{Attestation, KeyStrength, Result, TokenCacheKey, TokenType};
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
        let key = self.borrowed_key(request, scope.as_str());
        Ok(TokenCacheKey {
            token_type: key.token_type,
            over_mtls: key.over_mtls,
            attestation: key.attestation,
            min_strength: key.min_strength,
            scope,
        })
    }

    /// The same key without an allocation.
    pub(super) fn borrowed_key<'a>(
        &self,
        request: &TokenRequest,
        scope: &'a str,
    ) -> BorrowedTokenKey<'a> {
        self.key_of(scope, request.token_type, request.requirements)
    }

    /// The cache key of a token with these requirements on its certificate, or without one.
    pub(crate) fn key_of<'a>(
        &self,
        scope: &'a str,
        token_type: TokenType,
        requirements: Option<KeyRequirements>,
    ) -> BorrowedTokenKey<'a> {
        let attestation = |requirements| self.attestation(requirements);
        BorrowedTokenKey {
            scope,
            token_type,
            over_mtls: requirements.is_some(),
            attestation: requirements.map_or(Attestation::None, attestation),
            min_strength: requirements.map_or(KeyStrength::Software, |r| r.min_strength),
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
