//! A token flow without a certificate: a plain bearer token from the managed identity source of the host.
use super::{Flow, Plan};
use crate::cache::CachedToken;
use crate::telemetry;
use keybound_core::Result;
use std::sync::Arc;

impl Flow {
    /// Fetches the token of a plan from the host's source and caches it.
    ///
    /// After a claims challenge it replaces the cached token, which a resource rejected: the source issues it to every caller
    /// from now on.
    pub(super) async fn fetch_from_source(&self, plan: &Plan) -> Result<Arc<CachedToken>> {
        let identity = &self.context.identity;
        let revoked = plan
            .challenged
            .then(|| identity.tokens.get(&plan.key))
            .flatten();
        let fetched = self.source_token(plan, revoked.as_deref()).await;
        let source = self.context.settings.shared.source.kind();
        telemetry::count_source(plan, source, fetched.is_ok());
        let (issued, requested) = fetched?;
        let token = CachedToken::new(issued, None, requested, self.context.chance());
        let token = Arc::new(token);
        let now = self.context.now();
        identity
            .tokens
            .put(plan.key.clone(), Arc::clone(&token), now);
        Ok(token)
    }
}
