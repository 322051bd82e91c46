//! The steps of a managed identity's flow whose tokens are the assertions of an app registration.
use super::app_flow::{CheckedAssertion, identity_request};
use super::token_service::{MAX_TIMEOUT, acquire};
use super::{Flow, Plan};
use crate::SecretString;
use crate::access_token::AccessToken;
use crate::cache::CachedBinding;
use crate::confidential::App;
use crate::request::TokenRequest;
use keybound_core::{Error, ErrorKind, Result, Stage};
use std::sync::Arc;

/// An assertion that the authority refused.
pub(super) struct Refused {
    pub(super) error: Error,
    assertion: SecretString,
    /// Its certificate, if that is to be replaced.
    pub(super) certificate: Option<Arc<CachedBinding>>,
}

impl Flow {
    /// A refused assertion, with its certificate if Entra's error is about that, or if its key no longer signs: after the delay before
    /// it is replaced.
    pub(super) async fn refused(
        &self,
        plan: &Plan,
        checked: CheckedAssertion,
        error: Error,
    ) -> Refused {
        let mut certificate = None;
        if let Some(binding) = checked.binding {
            let is_rejected = match error.kind() {
                // Without a response of Entra, the way to this authority may be closed: the managed identity's own token endpoint
                // has accepted the certificate.
                ErrorKind::ClientCertificateRejected => error.service().is_some(),
                ErrorKind::KeyFailed => self.evict_if_rejected(plan, &binding, &error).await,
                _ => false,
            };
            if is_rejected {
                self.wait_for_new_certificate(&error, 0).await;
                certificate = Some(binding);
            }
        }
        Refused {
            error,
            assertion: checked.assertion.secret,
            certificate,
        }
    }

    /// Another token of the managed identity than the refused one, and of another certificate if that is to be replaced.
    pub(super) async fn other_identity_token(
        &self,
        app: &App,
        plan: &Arc<Plan>,
        refused: &Refused,
    ) -> Result<AccessToken> {
        if let Some(rejected) = &refused.certificate {
            self.replace(plan, rejected).await?;
        }
        let request = identity_request(app, plan);
        let is_other = |token: &AccessToken| {
            let binding = token.cached().binding.as_ref();
            let rejected = refused.certificate.as_ref();
            token.secret().expose() != refused.assertion.expose()
                && !rejected.is_some_and(|old| binding.is_some_and(|binding| binding.is(old)))
        };
        match self.context.cached_token(&request).filter(is_other) {
            // Another flow has replaced it.
            Some(token) => Ok(token),
            None => self.acquire_nested(request.force_refresh(true)).await,
        }
    }

    /// Mints a certificate if this one is still the current one. It remains the current one if there is no other: the authority of
    /// an app registration does not take the certificate from the managed identity.
    async fn replace(&self, plan: &Arc<Plan>, rejected: &CachedBinding) -> Result<()> {
        let identity = &self.context.identity;
        let now = self.context.now();
        let Some(current) = identity.bindings.get(plan.key.attestation, now) else {
            return Ok(());
        };
        if !current.is(rejected) {
            return Ok(());
        }
        // Two mints remain for the managed identity itself.
        if !identity.mint_limiter.available_for_challenge() {
            return Err(no_other_certificate());
        }
        let attestations = &self.context.state.inner().attestations;
        attestations.drop_of(rejected.binding.key().id());
        match self.minted(plan, true).await?.is(rejected) {
            true => Err(no_other_certificate()),
            false => Ok(()),
        }
    }

    /// Mints a certificate for a claims challenge, unless the mints are limited; false if they are.
    pub(super) async fn renew_for_challenge(&self, plan: &Arc<Plan>) -> Result<bool> {
        self.context.settings.check_issues_certificates()?;
        if !self.context.identity.mint_limiter.available_for_challenge() {
            return Ok(false);
        }
        self.minted(plan, true).await?;
        Ok(true)
    }

    pub(super) async fn acquire_nested(&self, request: TokenRequest) -> Result<AccessToken> {
        let request = request.timeout(MAX_TIMEOUT);
        let token = acquire(Arc::clone(&self.context), request, Some(&self.progress)).await;
        self.progress.end_nested();
        token
    }
}

fn no_other_certificate() -> Error {
    Error::new(
        ErrorKind::ClientCertificateRejected,
        Stage::Credential,
        "there is no other certificate",
    )
}
