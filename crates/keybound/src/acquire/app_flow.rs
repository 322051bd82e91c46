//! A token flow of an app registration: an assertion from its own flow, file or function, and its exchange for a token.
use super::token_flow::MAX_RETRIES;
use super::token_service::{MAX_TIMEOUT, acquire};
use super::{ClientContext, Flow, Plan};
use crate::cache::{CachedBinding, Obtained};
use crate::confidential::{App, ClientAssertion, Credential};
use crate::request::{KeyRequirements, TokenRequest};
use keybound_core::{Attestation, Result, TokenCacheKey};
use std::sync::Arc;

/// An assertion that was checked.
pub(super) struct CheckedAssertion {
    pub(super) assertion: ClientAssertion,
    /// The certificate that it is bound to, if it is sent over mutual TLS.
    pub(super) binding: Option<Arc<CachedBinding>>,
}

impl Flow {
    /// Fetches the token of a plan with a new or cached assertion and caches it. If Entra rejects the certificate of a managed
    /// identity, both are replaced: at most twice, as by the flow of the managed identity itself.
    pub(super) async fn fetch_for_app(&self, app: &App, plan: &Plan) -> Result<Obtained> {
        let mut rejected = None;
        let mut retries = 0;
        loop {
            let checked = self.assertion(app, plan, rejected.as_ref()).await?;
            let error = match self.exchange(app, plan, &checked).await {
                Ok((issued, requested)) => {
                    let binding = checked.binding.as_ref();
                    let token = self.cache(plan, issued, binding, requested);
                    return Ok(Obtained {
                        token,
                        from_cache: false,
                    });
                }
                Err(error) => error,
            };
            let (Some(binding), Some(client)) =
                (checked.binding, app.credential.managed_identity_context())
            else {
                return Err(error);
            };
            let flow = Flow::new(
                Arc::clone(client),
                Arc::clone(&self.progress),
                self.request_id,
            );
            if !flow.evict_if_rejected(plan, &binding, &error).await || retries == MAX_RETRIES {
                return Err(error);
            }
            self.wait_for_new_certificate(&error, retries).await;
            rejected = Some(binding);
            retries += 1;
        }
    }

    async fn assertion(
        &self,
        app: &App,
        plan: &Plan,
        rejected: Option<&Arc<CachedBinding>>,
    ) -> Result<CheckedAssertion> {
        match &app.credential.0 {
            Credential::ManagedIdentity(client) => {
                let assertion = self.identity_token(client, app, plan, rejected).await?;
                self.check_assertion(assertion, plan)
            }
            Credential::TokenFile(path) => self.assertion_of_file(path, plan).await,
            Credential::Callback(callback) => self.assertion_of_caller(callback, app, plan).await,
        }
    }

    /// The token of the managed identity, from its cache or from its own flow; after a rejection, one with another certificate.
    async fn identity_token(
        &self,
        client: &Arc<ClientContext>,
        app: &App,
        plan: &Plan,
        rejected: Option<&Arc<CachedBinding>>,
    ) -> Result<ClientAssertion> {
        let audience = app.key.authority.exchange_audience();
        let request = match requirements(&plan.key) {
            Some(requirements) => TokenRequest::pop(audience, requirements),
            None => TokenRequest::bearer(audience),
        };
        let cached = client.cached_token(&request).filter(|token| {
            let binding = token.cached().binding.as_ref();
            !rejected.is_some_and(|rejected| binding.is_some_and(|own| own.is(rejected)))
        });
        if let Some(token) = cached {
            return Ok(token.into());
        }
        let request = request
            .force_refresh(rejected.is_some())
            .timeout(MAX_TIMEOUT);
        let token = acquire(Arc::clone(client), request, Some(&self.progress)).await;
        self.progress.end_nested();
        Ok(token?.into())
    }
}

/// The requirements on the key and certificate of the assertion; `None`: it is not bound.
pub(super) fn requirements(key: &TokenCacheKey) -> Option<KeyRequirements> {
    key.over_mtls.then_some(KeyRequirements {
        attested: key.attestation != Attestation::None,
        min_strength: key.min_strength,
    })
}
