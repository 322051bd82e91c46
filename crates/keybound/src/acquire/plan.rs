use super::ClientContext;
use crate::cache::TokenRequestKey;
use crate::request::TokenRequest;
use keybound_core::{Result, TokenCacheKey, merge_capabilities};
use std::sync::Arc;

/// A validated token request.
pub(crate) struct Plan {
    pub(crate) key: TokenCacheKey,
    /// Whether the cached token is ignored.
    pub(crate) forced: bool,
    /// Whether a resource's claims challenge requires a new certificate first.
    pub(crate) challenged: bool,
    /// The claims parameter, with the client capabilities merged in.
    pub(crate) claims: Option<Arc<str>>,
}

impl Plan {
    pub(super) fn new(context: &ClientContext, request: &TokenRequest) -> Result<Self> {
        Ok(Self {
            key: context.token_key(request)?,
            forced: request.force_refresh,
            challenged: request.claims.is_some(),
            claims: merge_capabilities(
                request.claims.as_ref(),
                &context.settings.shared.capabilities,
            )?
            .map(Arc::from),
        })
    }

    pub(super) fn request_key(&self) -> TokenRequestKey {
        TokenRequestKey {
            key: self.key.clone(),
            forced: self.forced,
            claims: self.claims.clone().filter(|_| self.challenged),
        }
    }
}
