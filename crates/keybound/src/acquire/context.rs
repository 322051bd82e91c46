use crate::cache::{BorrowedTokenKey, DualTime, IdentityState, SharedState};
use crate::confidential::App;
use crate::request::{KeyRequirements, TokenRequest};
use crate::settings::Settings;
use keybound_core::{Attestation, KeyStrength, Result, TokenCacheKey, TokenType};
use std::fmt;
use std::sync::Arc;

/// The settings and caches of a client, shared by its clones.
pub(crate) struct ClientContext {
    pub(crate) settings: Settings,
    pub(crate) state: SharedState,
    pub(crate) identity: Arc<IdentityState>,
    /// The kind of attestation that requirements with attestation mean.
    pub(crate) attested: Attestation,
    /// `None`: the tokens are those of the managed identity itself. Boxed, as most clients have none.
    pub(crate) app: Option<Box<App>>,
}

impl ClientContext {
    /// Formats the client as a struct of this name, with whose tokens it acquires.
    pub(crate) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut output = f.debug_struct(name);
        match &self.app {
            None => output.field("identity", &self.settings.identity),
            Some(app) => output
                .field("tenant_id", &app.key.tenant_id)
                .field("client_id", &app.key.client_id)
                .field("credential", &app.credential),
        };
        output.finish_non_exhaustive()
    }

    /// The client whose certificates the tokens are bound to: this one, or that of the assertions of an app registration. `None` if
    /// the caller returns the assertions.
    pub(super) fn certificates(self: &Arc<Self>) -> Option<&Arc<Self>> {
        match &self.app {
            None => Some(self),
            Some(app) => app.credential.managed_identity_context(),
        }
    }

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
        let attested = requirements.is_some_and(|requirements| requirements.attested);
        BorrowedTokenKey {
            scope,
            token_type,
            over_mtls: requirements.is_some(),
            attestation: if attested {
                self.attested
            } else {
                Attestation::None
            },
            min_strength: requirements.map_or(KeyStrength::Software, |r| r.min_strength),
        }
    }
}
