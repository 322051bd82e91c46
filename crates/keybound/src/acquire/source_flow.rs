//! A token flow without a certificate: a plain bearer token from the managed identity source of the host.
use super::{Flow, Plan};
use crate::cache::{CachedToken, Freshness, Obtained};
use crate::telemetry;
use keybound_core::Result;
use std::sync::Arc;

impl Flow {
    /// Fetches the token of a plan from the host's source and caches it.
    ///
    /// After a claims challenge it replaces the cached token, which a resource rejected: the source issues it to every caller
    /// from now on. If resources challenge too often, the cached token is returned: they cannot make a client flood its source.
    pub(super) async fn fetch_from_source(&self, plan: &Plan) -> Result<Obtained> {
        let identity = &self.context.identity;
        let cached = identity.tokens.get(&plan.key);
        if plan.challenged
            && let Some(token) = &cached
            && token.freshness(self.context.now()) != Freshness::Expired
            && !identity.source_limiter.try_acquire()
        {
            tracing::info!(request_id = %self.request_id,
                "claims were required too often in a short time: returning the cached token");
            return Ok(Obtained {
                token: Arc::clone(token),
                from_cache: true,
            });
        }
        let revoked = cached.as_deref().filter(|_| plan.challenged);
        let fetched = self.source_token(plan, revoked).await;
        let source = self.context.settings.shared.source.kind();
        telemetry::count_source(plan, source, fetched.as_ref().err());
        let (issued, requested) = fetched?;
        let token = CachedToken::new(issued, None, requested, self.context.chance());
        let token = Arc::new(token);
        let (key, now) = (plan.key.clone(), self.context.now());
        match plan.challenged {
            true => identity.tokens.put(key, Arc::clone(&token), now),
            false => {
                let cached = cached.as_ref();
                identity
                    .tokens
                    .put_unless_replaced(key, Arc::clone(&token), cached, now);
            }
        }
        Ok(Obtained {
            token,
            from_cache: false,
        })
    }
}
