//! A token flow of an app registration: an assertion from its own flow, file or function, and its exchange for a token.
use super::{ClientContext, Flow, Plan};
use crate::SecretString;
use crate::access_token::{AccessToken, TokenSource};
use crate::cache::{CachedBinding, Obtained};
use crate::confidential::{App, ClientAssertion, Credential};
use crate::request::{KeyRequirements, TokenRequest};
use crate::telemetry::{self, Exchange};
use keybound_core::{Attestation, Error, ErrorKind, Result, TokenCacheKey};
use std::sync::Arc;

/// An assertion that was checked.
pub(super) struct CheckedAssertion {
    pub(super) assertion: ClientAssertion,
    /// The certificate that it is bound to, if it is sent over mutual TLS.
    pub(super) binding: Option<Arc<CachedBinding>>,
}

impl Flow {
    /// Fetches the token of a plan with a new or cached assertion and caches it. An assertion that is refused is replaced once; one of a
    /// managed identity with its certificate if Entra's error is about that.
    pub(super) async fn fetch_for_app(&self, app: &App, plan: &Arc<Plan>) -> Result<Obtained> {
        // Before the first leg, which would be in vain.
        app.allowed_url(plan.key.over_mtls, &self.context.settings.shared)?;
        let (checked, from_cache) = self.assertion(app, plan, None).await?;
        let error = match self.exchange_and_cache(app, plan, &checked, false).await {
            Ok(obtained) => return Ok(obtained),
            Err(error) => error,
        };
        let Some(client) = app.credential.managed_identity_context() else {
            let refused = &checked.assertion.secret;
            return self.fetch_again(app, plan, refused, error).await;
        };
        let flow = self.of_identity(client);
        let refused = flow.refused(plan, checked, error).await;
        if refused.certificate.is_none()
            && !(from_cache && is_refusal(&refused.error) && self.allows_first_leg())
        {
            return Err(refused.error);
        }
        self.progress.note_failure(refused.error.clone());
        let token = match flow.other_identity_token(app, plan, &refused).await {
            Ok(token) => token,
            Err(error) => return Err(more_useful(error, refused.error)),
        };
        let checked = self.check_assertion(token.into(), plan)?;
        let obtained = self.exchange_and_cache(app, plan, &checked, true).await?;
        if let (Some(old), Some(new)) = (&refused.certificate, &checked.binding)
            && !old.is(new)
        {
            flow.remove_stored(plan, &old.binding);
        }
        Ok(obtained)
    }

    /// Exchanges another assertion of the file or the function than the refused one, if there is one.
    async fn fetch_again(
        &self,
        app: &App,
        plan: &Arc<Plan>,
        refused: &SecretString,
        error: Error,
    ) -> Result<Obtained> {
        if !is_refusal(&error) || !self.allows_first_leg() {
            return Err(error);
        }
        self.progress.note_failure(error.clone());
        match self.assertion(app, plan, Some(&error)).await {
            Ok((other, _)) if other.assertion.secret != *refused => {
                self.exchange_and_cache(app, plan, &other, true).await
            }
            _ => Err(error),
        }
    }

    /// Exchanges an assertion and caches the token. `replaced`: another assertion was refused before.
    async fn exchange_and_cache(
        &self,
        app: &App,
        plan: &Plan,
        checked: &CheckedAssertion,
        replaced: bool,
    ) -> Result<Obtained> {
        let exchanged = self.exchange(app, plan, checked).await;
        telemetry::count_exchange(&Exchange {
            credential: &app.credential.0,
            token_type: plan.key.token_type,
            binding: checked.binding.as_ref().map(|cached| &*cached.binding),
            replaced,
            outcome: match &exchanged {
                Ok(_) => "Success",
                Err(error) if is_refusal(error) => "Refused",
                Err(_) => "Failed",
            },
        });
        let (issued, requested) = exchanged?;
        Ok(Obtained {
            token: self.cache(plan, issued, checked.binding.as_ref(), requested),
            from_cache: false,
        })
    }

    /// An assertion, and whether it is a token that the managed identity's client had cached. `refusal` is the error by which that of
    /// the file or the function before was refused.
    async fn assertion(
        &self,
        app: &App,
        plan: &Arc<Plan>,
        refusal: Option<&Error>,
    ) -> Result<(CheckedAssertion, bool)> {
        let checked = match &app.credential.0 {
            Credential::ManagedIdentity(client) => {
                let token = self.identity_token(client, app, plan).await?;
                let from_cache = token.source() == TokenSource::Cache;
                return Ok((self.check_assertion(token.into(), plan)?, from_cache));
            }
            Credential::TokenFile(path) => self.assertion_of_file(path, plan).await?,
            Credential::Callback(callback) => {
                let assertion = self.assertion_of_caller(callback, app, plan, refusal);
                assertion.await?
            }
        };
        Ok((checked, false))
    }

    /// The token of the managed identity, from its cache or from its own flow. For a claims challenge it is a new one, with a new
    /// certificate if it is bound to one, as far as the rate limits allow.
    async fn identity_token(
        &self,
        client: &Arc<ClientContext>,
        app: &App,
        plan: &Arc<Plan>,
    ) -> Result<AccessToken> {
        let flow = self.of_identity(client);
        let challenged = plan.challenged
            && match plan.key.over_mtls {
                true => flow.renew_for_challenge(plan).await?,
                false => self.allows_challenged_first_leg(),
            };
        let request = identity_request(app, plan).force_refresh(plan.forced || challenged);
        match client.cached_token(&request) {
            Some(token) => Ok(token),
            None => flow.acquire_nested(request).await,
        }
    }

    /// Whether the rate limit allows a request of the first leg that the claims challenge of a resource causes. Some remain for
    /// refused assertions.
    pub(super) fn allows_challenged_first_leg(&self) -> bool {
        let limiter = &self.context.identity.source_limiter;
        limiter.available_for_challenge() && limiter.try_acquire()
    }

    /// Whether the rate limit allows a request of the first leg that the authority of the app registration causes.
    fn allows_first_leg(&self) -> bool {
        self.context.identity.source_limiter.try_acquire()
    }

    /// The flow of the managed identity for a step of this one.
    fn of_identity(&self, client: &Arc<ClientContext>) -> Self {
        Self::new(
            Arc::clone(client),
            Arc::clone(&self.progress),
            self.request_id,
        )
    }
}

/// The managed identity's request of the assertion.
pub(super) fn identity_request(app: &App, plan: &Plan) -> TokenRequest {
    let audience = app.key.authority.exchange_audience();
    match requirements(&plan.key) {
        Some(requirements) => TokenRequest::pop(audience, requirements),
        None => TokenRequest::bearer(audience),
    }
}

/// The requirements on the key and certificate of the assertion; `None`: it is not bound.
pub(super) fn requirements(key: &TokenCacheKey) -> Option<KeyRequirements> {
    key.over_mtls.then_some(KeyRequirements {
        attested: key.attestation != Attestation::None,
        min_strength: key.min_strength,
    })
}

/// Whether the authority refused the assertion or its certificate.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AssertionRejected | ErrorKind::ClientCertificateRejected
    )
}

/// Of the error of a new first leg and that of the exchange before it, the one that the caller can do more about.
fn more_useful(error: Error, refusal: Error) -> Error {
    match refusal.kind() {
        ErrorKind::KeyFailed => error,
        _ => refusal,
    }
}
