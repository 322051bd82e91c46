//! Certificates: the single flight of equal mints, and renewal in the background.
use super::certificate_flow::mint;
use super::{ClientContext, Plan};
use crate::cache::{CachedBinding, MintKey, RefreshAttempts, Refreshable as _};
use crate::single_flight::Waiter;
use keybound_core::{Error, Result, Stage};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use uuid::Uuid;

impl ClientContext {
    /// Joins or starts a mint.
    pub(super) fn join_mint(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        bypass: bool,
        request_id: Uuid,
    ) -> Waiter<Result<Option<Arc<CachedBinding>>>> {
        let attestation = plan.key.attestation;
        let bypass = bypass || self.identity.bindings.was_rejected(attestation);
        let key = MintKey {
            attestation,
            min_strength: plan.key.min_strength,
            bypass,
        };
        let (context, plan) = (Arc::clone(self), Arc::clone(plan));
        self.identity.binding_requests.join(&key, move |progress| {
            let (context, plan) = (Arc::clone(&context), Arc::clone(&plan));
            Box::pin(mint(context, progress, plan, bypass, request_id))
        })
    }
}

/// Renews a certificate in the background, on the caller's runtime.
pub(super) fn renew_certificate(
    context: &Arc<ClientContext>,
    plan: &Arc<Plan>,
    binding: &Arc<CachedBinding>,
) {
    let now = context.now();
    let superseded = context
        .identity
        .bindings
        .get(plan.key.attestation, now)
        .is_some_and(|current| !Arc::ptr_eq(&current, binding));
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if superseded {
        return;
    }
    let Some(attempt) = RefreshAttempts::begin(binding, now) else {
        return;
    };
    let waiter = context.join_mint(plan, false, Uuid::new_v4());
    let (context, binding) = (Arc::clone(context), Arc::clone(binding));
    runtime.spawn(async move {
        let _attempt = attempt;
        let error = match await_refresh(waiter).await {
            Ok(Some(minted)) if minted.is(&binding) => Error::invalid_response(Stage::Credential, "the same certificate was issued again"),
            Ok(_) => return,
            Err(error) => error,
        };
        tracing::warn!(code = error.kind().code(), stage = %error.stage(), "background certificate renewal failed; the current certificate is still used");
        binding.renewal().failed(context.now(), error, context.chance());
    });
}

/// Waits for a background refresh, with the timeout of a request.
pub(super) async fn await_refresh<T: Clone>(waiter: Waiter<Result<T>>) -> Result<T> {
    match timeout(REFRESH_TIMEOUT, waiter.work).await {
        Ok(result) => result,
        Err(_) => Err(waiter.progress.deadline_error()),
    }
}

const REFRESH_TIMEOUT: Duration = Duration::from_secs(60);
