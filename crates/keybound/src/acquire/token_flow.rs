//! A token flow: requests a token with the current certificate or a new one, and again with a new certificate if the current
//! one is rejected; a plain bearer token from the host's source.
use super::certificate_service::renew_certificate;
use super::{ClientContext, Flow, Plan, Progress};
use crate::access_token::IssuedToken;
use crate::cache::{CachedBinding, CachedToken, DualTime, Freshness, Obtained, Refreshable as _};
use crate::telemetry;
use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_keys::KeyError;
use keybound_transport::TransportError;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Fetches the token of a plan and caches it.
pub(super) async fn fetch_token(
    context: Arc<ClientContext>,
    progress: Arc<Progress>,
    plan: Arc<Plan>,
) -> Result<Obtained> {
    let flow = Flow::new(context, progress, Uuid::new_v4());
    if let Some(token) = flow.fetched_meanwhile(&plan) {
        return Ok(Obtained {
            token,
            from_cache: true,
        });
    }
    if let Some(app) = &flow.context.app {
        return flow.fetch_for_app(app, &plan).await;
    }
    if !plan.key.over_mtls {
        return flow.fetch_from_source(&plan).await;
    }
    flow.context.settings.check_issues_certificates()?;
    flow.context.settings.check_v2_enabled()?;
    let started = Instant::now();
    let mut rejected: Option<(Arc<CachedBinding>, Error)> = None;
    let mut discarded: Option<(Arc<CachedBinding>, Error)> = None;
    let mut retries = 0;
    loop {
        let last = rejected.as_ref().map(|(binding, _)| binding);
        let binding = match flow.binding(&plan, last, started).await {
            Ok(binding) => binding,
            Err(error) => {
                telemetry::count(&plan, None, retries > 0, false);
                if let Some((binding, error)) = discarded {
                    // There is no other certificate: this one remains, with the error of its token request.
                    let identity = &flow.context.identity;
                    identity.put_binding(plan.key.attestation, &binding);
                    return Err(error);
                }
                // If the mints are limited, the response of the service is the more useful error.
                let limited = error.kind() == ErrorKind::ClientCertificateRejected;
                return Err(match rejected {
                    Some((_, rejection)) if limited => rejection,
                    _ => error,
                });
            }
        };
        let error = match flow.token_with(&plan, &binding).await {
            Ok(token) => {
                if let Some((discarded, _)) = discarded.filter(|(old, _)| !old.is(&binding)) {
                    flow.remove_stored(&plan, &discarded.binding);
                }
                telemetry::count(&plan, Some(&binding.binding), retries > 0, true);
                return Ok(Obtained {
                    token,
                    from_cache: false,
                });
            }
            Err(error) => error,
        };
        let evicted = flow.evict_if_rejected(&plan, &binding, &error).await;
        if !evicted && binding.is_unproven() {
            flow.discard_unproven(&plan, &binding, &error);
            discarded = Some((binding, error));
            continue;
        }
        if !evicted || retries == MAX_RETRIES {
            telemetry::count(&plan, Some(&binding.binding), retries > 0, false);
            return Err(error);
        }
        flow.wait_for_new_certificate(&error, retries).await;
        rejected = Some((binding, error));
        retries += 1;
    }
}

impl Flow {
    /// Waits before a retry with a new certificate.
    pub(super) async fn wait_for_new_certificate(&self, rejection: &Error, retries: u32) {
        let delay = FIRST_DELAY
            .saturating_mul(1 << retries)
            .mul_f64(0.5 + 0.5 * self.context.chance());
        tracing::info!(code = rejection.kind().code(), round = retries, wait_ms = delay.as_secs_f64() * 1000.0, request_id = %self.request_id,
            "certificate rejected; retrying with a new one");
        self.progress.note_failure(rejection.clone());
        tokio::time::sleep(delay).await;
    }

    /// A token that another flow has fetched since the cache lookup.
    fn fetched_meanwhile(&self, plan: &Plan) -> Option<Arc<CachedToken>> {
        if plan.forced || plan.challenged {
            return None;
        }
        let token = self.context.identity.tokens.get(&plan.key)?;
        (token.freshness(self.context.now()) == Freshness::Fresh).then_some(token)
    }

    /// Requests a token with a certificate and caches it.
    async fn token_with(
        &self,
        plan: &Plan,
        binding: &Arc<CachedBinding>,
    ) -> Result<Arc<CachedToken>> {
        let (issued, requested) = self.token(plan, &binding.binding).await?;
        binding.set_proven();
        Ok(self.cache(plan, issued, Some(binding), requested))
    }

    /// Caches a new token, unless it is one with claims.
    pub(super) fn cache(
        &self,
        plan: &Plan,
        issued: IssuedToken,
        binding: Option<&Arc<CachedBinding>>,
        requested: DualTime,
    ) -> Arc<CachedToken> {
        let context = &self.context;
        let token = CachedToken::new(issued, binding.cloned(), requested, context.chance());
        let token = Arc::new(token);
        if !plan.challenged {
            let (key, now) = (plan.key.clone(), context.now());
            context.identity.tokens.put(key, Arc::clone(&token), now);
        }
        // Checked after the token is cached: a certificate that is cached later supersedes it there.
        if let (Some(binding), Some(certificates)) = (binding, context.certificates()) {
            let bindings = &certificates.identity.bindings;
            let current = bindings.get(plan.key.attestation, context.now());
            if !current.is_some_and(|current| current.is(binding)) {
                token.supersede();
            }
        }
        token
    }

    /// The certificate for the token request: the current one, unless it was rejected, is about to expire, or a claims challenge
    /// requires a newer one.
    async fn binding(
        &self,
        plan: &Arc<Plan>,
        rejected: Option<&Arc<CachedBinding>>,
        started: Instant,
    ) -> Result<Arc<CachedBinding>> {
        let now = self.context.now();
        let identity = &self.context.identity;
        let current = identity
            .bindings
            .get(plan.key.attestation, now)
            .filter(|current| rejected.is_none_or(|rejected| !rejected.is(current)));
        if let Some(current) = &current {
            // During the backoff after a failed renewal, it is used until it expires.
            let fresh = !current.is_stale(now) || current.renewal().is_backing_off(now);
            // If mints are limited, the challenge is answered with the current certificate.
            let new_enough = !plan.challenged
                || current.received.monotonic >= started
                || !identity.mint_limiter.available_for_challenge();
            if fresh && new_enough {
                check_strength(plan, current)?;
                if current.is_due(now) {
                    renew_certificate(&self.context, plan, current);
                }
                return Ok(Arc::clone(current));
            }
        }
        let minted = self
            .minted(plan, plan.challenged || rejected.is_some())
            .await;
        let binding = match (minted, current) {
            // A certificate that is about to expire is still valid.
            (Err(error), Some(current)) if !plan.challenged => {
                tracing::warn!(
                    code = error.kind().code(),
                    "certificate renewal failed; using the current certificate"
                );
                current
            }
            (minted, _) => {
                let minted = minted?;
                if minted.is_stale(self.context.now()) {
                    let error = Error::invalid_response(
                        Stage::Credential,
                        "IMDS issues no newer certificate",
                    );
                    minted
                        .renewal()
                        .failed(self.context.now(), error, self.context.chance());
                }
                minted
            }
        };
        check_strength(plan, &binding)?;
        Ok(binding)
    }

    /// Joins or starts a mint. If the current certificate is rejected meanwhile, the next mint bypasses IMDS's cache.
    pub(super) async fn minted(
        &self,
        plan: &Arc<Plan>,
        mut bypass: bool,
    ) -> Result<Arc<CachedBinding>> {
        self.progress.enter(Stage::Metadata);
        loop {
            let waiter = self.context.join_mint(plan, bypass, self.request_id);
            self.progress.begin_nested(&waiter.progress);
            let minted = waiter.work.await;
            self.progress.end_nested();
            match minted? {
                Some(minted) => return Ok(minted),
                None => bypass = true,
            }
        }
    }

    /// Evicts a certificate from the store with which no token was issued. Other programs of the account write to the store:
    /// the endpoint of the entry may differ from the one that IMDS names, or may no longer exist.
    fn discard_unproven(&self, plan: &Plan, binding: &CachedBinding, error: &Error) {
        tracing::warn!(code = error.kind().code(), request_id = %self.request_id,
            "no token was issued with the stored certificate: requesting a new one");
        self.progress.note_failure(error.clone());
        let identity = &self.context.identity;
        identity.skips_store.store(true, Ordering::Relaxed);
        identity.bindings.remove(plan.key.attestation, binding);
    }

    /// Evicts a certificate that was rejected, or whose key no longer signs; true if a new one may help. Its tokens are
    /// still returned until there is a new certificate, and then while theirs cannot be refreshed: a resource may still accept
    /// them. The tokens of a key that no longer signs are evicted too.
    pub(super) async fn evict_if_rejected(
        &self,
        plan: &Plan,
        binding: &Arc<CachedBinding>,
        error: &Error,
    ) -> bool {
        let key = binding.binding.key();
        let identity = &self.context.identity;
        let rejected = error.kind() == ErrorKind::ClientCertificateRejected;
        if !rejected && error.kind() != ErrorKind::KeyFailed {
            return false;
        }
        // If the certificate is no longer the current one, another flow has evicted it.
        let current = identity
            .bindings
            .get(plan.key.attestation, self.context.now())
            .is_some_and(|current| current.is(binding));
        if !current {
            return true;
        }
        let unusable = self.drop_unusable_key(key).await;
        if unusable {
            identity.evict_tokens_bound_to(binding);
        }
        if rejected || unusable {
            let bindings = &identity.bindings;
            let now = self.context.now();
            bindings.reject(plan.key.attestation, binding, is_explicit(error), now);
            self.remove_stored(plan, &binding.binding);
            self.context.state.inner().attestations.drop_of(key.id());
        }
        rejected || unusable
    }
}

/// The certificate may be cached for requests with a lower minimum.
fn check_strength(plan: &Plan, binding: &CachedBinding) -> Result<()> {
    let strength = binding.binding.key_strength();
    if strength < plan.key.min_strength {
        return Err(KeyError::too_weak(strength, plan.key.min_strength).into());
    }
    Ok(())
}

/// Whether the peer rejected the certificate by a response or an alert. If the connection was only closed after the
/// certificate was presented, a proxy may have closed it.
fn is_explicit(error: &Error) -> bool {
    let transport = error
        .source()
        .and_then(|source| source.downcast_ref::<TransportError>());
    !transport.is_some_and(TransportError::is_connection_lost)
}

/// The number of new certificates that one acquisition requests after rejections.
const MAX_RETRIES: u32 = 2;
/// The delay before the first retry; doubled for the next one. Up to half of it is subtracted at random.
const FIRST_DELAY: Duration = Duration::from_millis(200);
