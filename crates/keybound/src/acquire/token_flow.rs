//! A token flow: a token for the current certificate or a new one, and the retries with a new certificate where the current one
//! is rejected.
use super::certificate_service::renew_certificate;
use super::steps::too_weak;
use super::{ClientContext, Flow, Plan, Progress};
use crate::cache::{CachedBinding, CachedToken, Freshness, Obtained, Refreshable as _};
use crate::telemetry::{self, Outcome};
use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_transport::TransportError;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Fetches the token of a plan and caches it.
pub(super) async fn fetch_token(
    shared: Arc<ClientContext>,
    progress: Arc<Progress>,
    plan: Arc<Plan>,
) -> Result<Obtained> {
    let flow = Flow::new(shared, progress, Uuid::new_v4());
    if let Some(token) = flow.fetched_meanwhile(&plan) {
        return Ok(Obtained {
            token,
            from_cache: true,
        });
    }
    flow.shared.settings.check_v2_enabled()?;
    let begun = Instant::now();
    let mut refused: Option<Arc<CachedBinding>> = None;
    let mut last_refusal = None;
    let mut discarded: Option<(Arc<CachedBinding>, Error)> = None;
    let mut round = 0;
    loop {
        let binding = match flow.binding(&plan, refused.as_ref(), begun).await {
            Ok(binding) => binding,
            Err(error) => {
                let outcome = if round > 0 {
                    Outcome::RetryFailed
                } else {
                    Outcome::NotFound
                };
                telemetry::count(&plan, None, round > 0, outcome);
                if let Some((binding, error)) = discarded {
                    // There is no other: it stays, and the error is the one of its own request.
                    let identity = &flow.shared.identity;
                    identity.put_binding(plan.key.attestation, &binding);
                    return Err(error);
                }
                // Where no other may be minted for now, the service's own words say more.
                let rested = error.kind() == ErrorKind::ClientCertificateRejected;
                return Err(last_refusal.filter(|_| rested).unwrap_or(error));
            }
        };
        let error = match flow.token_over(&plan, &binding).await {
            Ok(token) => {
                if let Some((discarded, _)) = discarded.filter(|(old, _)| !old.is(&binding)) {
                    flow.drop_stored(&plan, &discarded.binding);
                }
                let outcome = if round > 0 {
                    Outcome::RetrySucceeded
                } else {
                    Outcome::Success
                };
                telemetry::count(&plan, Some(&binding.binding), round > 0, outcome);
                return Ok(Obtained {
                    token,
                    from_cache: false,
                });
            }
            Err(error) => error,
        };
        let remedy = flow.evict_if_rejected(&plan, &binding, &error).await;
        if !remedy && binding.is_unproven() {
            flow.discard_unproven(&plan, &binding, &error);
            discarded = Some((binding, error));
            continue;
        }
        if !remedy || round == REMEDIES {
            let outcome = if round > 0 {
                Outcome::RetryFailed
            } else {
                Outcome::Success
            };
            telemetry::count(&plan, Some(&binding.binding), round > 0, outcome);
            return Err(error);
        }
        let wait = FIRST_WAIT
            .saturating_mul(1 << round)
            .mul_f64(0.5 + 0.5 * flow.shared.chance());
        tracing::info!(code = error.kind().code(), round, wait_ms = wait.as_secs_f64() * 1000.0, request_id = %flow.request_id,
            "the certificate was refused: asking with a new one");
        flow.progress.note_failure(error.clone());
        last_refusal = Some(error);
        refused = Some(binding);
        round += 1;
        tokio::time::sleep(wait).await;
    }
}

impl Flow {
    /// A token that another flow has fetched since the cache lookup.
    fn fetched_meanwhile(&self, plan: &Plan) -> Option<Arc<CachedToken>> {
        if plan.forced || plan.challenged {
            return None;
        }
        let token = self.shared.identity.tokens.get(&plan.key)?;
        let serves = token.freshness(self.shared.now()) == Freshness::Fresh;
        (serves && plan.allows(&token.binding, &self.shared)).then_some(token)
    }

    async fn token_over(
        &self,
        plan: &Plan,
        binding: &Arc<CachedBinding>,
    ) -> Result<Arc<CachedToken>> {
        let (issued, asked_at) = self.token(plan, &binding.binding).await?;
        let token = CachedToken::new(issued, Arc::clone(binding), asked_at, self.shared.chance());
        let token = Arc::new(token);
        binding.set_proven();
        let identity = &self.shared.identity;
        if !plan.challenged {
            identity
                .tokens
                .put(plan.key.clone(), Arc::clone(&token), self.shared.now());
        }
        // Looked at when the token is in its place: a certificate that comes later marks it there.
        let current = identity
            .bindings
            .get(plan.key.attestation, self.shared.now());
        // Replaced while it was asked for.
        if !current.is_some_and(|current| current.is(binding)) {
            token.supersede();
        }
        Ok(token)
    }

    /// The certificate to ask with: the current one, unless it was refused, a challenge wants a newer one, or it is near
    /// its end.
    async fn binding(
        &self,
        plan: &Arc<Plan>,
        refused: Option<&Arc<CachedBinding>>,
        begun: Instant,
    ) -> Result<Arc<CachedBinding>> {
        let now = self.shared.now();
        let identity = &self.shared.identity;
        let current = identity
            .bindings
            .get(plan.key.attestation, now)
            .filter(|current| refused.is_none_or(|refused| !refused.is(current)));
        if let Some(current) = &current {
            // Without a newer one, it is used until it expires.
            let fresh = !current.is_stale(now) || current.renewal().is_backing_off(now);
            // Without supply the challenge gets the certificate that there is.
            let new_enough = !plan.challenged
                || current.got.monotonic >= begun
                || !identity.mint_limiter.available_for_challenge();
            if fresh && new_enough {
                self.check(plan, current)?;
                if current.is_due(now) {
                    renew_certificate(&self.shared, plan, current);
                }
                return Ok(Arc::clone(current));
            }
        }
        let minted = self
            .minted(plan, plan.challenged || refused.is_some())
            .await;
        match (minted, current) {
            // One that is near its end, or that a challenge finds too old, is better than none.
            (Err(error), Some(current)) if !plan.challenged => {
                tracing::warn!(
                    code = error.kind().code(),
                    "certificate renewal failed; using the current certificate"
                );
                self.check(plan, &current)?;
                Ok(current)
            }
            (minted, _) => {
                let minted = minted?;
                if minted.is_stale(self.shared.now()) {
                    let error = Error::invalid_response(
                        Stage::Credential,
                        "IMDS issues no newer certificate",
                    );
                    minted
                        .renewal()
                        .failed(self.shared.now(), error, self.shared.chance());
                }
                self.check(plan, &minted)?;
                Ok(minted)
            }
        }
    }

    /// Joins or starts a mint. Where the current certificate is rejected meanwhile, the next mint is past IMDS's cache.
    async fn minted(&self, plan: &Arc<Plan>, mut bypass: bool) -> Result<Arc<CachedBinding>> {
        self.progress.enter(Stage::Metadata);
        loop {
            let waiter = self.shared.join_mint(plan, bypass, self.request_id);
            self.progress.follow(&waiter.progress);
            let minted = waiter.work.await;
            self.progress.leave();
            match minted? {
                Some(minted) => return Ok(minted),
                None => bypass = true,
            }
        }
    }

    fn check(&self, plan: &Plan, binding: &CachedBinding) -> Result<()> {
        let strength = binding.binding.key_strength();
        if strength < plan.key.min_strength {
            return Err(too_weak(strength, plan.key.min_strength));
        }
        self.check_simulated(&**binding.binding.key())
    }

    /// Removes a certificate from the store with which no token was issued. Other programs of the account write to the store:
    /// the endpoint of the entry may be another one than IMDS names, or no longer exist.
    fn discard_unproven(&self, plan: &Plan, binding: &CachedBinding, error: &Error) {
        tracing::warn!(code = error.kind().code(), request_id = %self.request_id,
            "no token was issued with the stored certificate: requesting a new one");
        self.progress.note_failure(error.clone());
        let identity = &self.shared.identity;
        identity.skips_store.store(true, Ordering::Relaxed);
        identity.bindings.remove(plan.key.attestation, binding);
    }

    /// Evicts a certificate that was rejected, or whose key no longer signs; true where that was so. Its tokens are still returned
    /// until there is a new certificate, and then while theirs cannot be refreshed: a resource may still accept them. The tokens
    /// of a key that no longer signs are evicted, too.
    async fn evict_if_rejected(
        &self,
        plan: &Plan,
        binding: &Arc<CachedBinding>,
        error: &Error,
    ) -> bool {
        let key = binding.binding.key();
        let identity = &self.shared.identity;
        let refused = error.kind() == ErrorKind::ClientCertificateRejected;
        if !refused && error.kind() != ErrorKind::KeyFailed {
            return false;
        }
        // Where the certificate is no longer the current one, somebody has seen to all of this.
        let current = identity
            .bindings
            .get(plan.key.attestation, self.shared.now())
            .is_some_and(|current| current.is(binding));
        if !current {
            return true;
        }
        let dead = self.drop_dead_key(key).await;
        if dead {
            identity.tokens.evict_bound_to(binding);
        }
        if refused || dead {
            let bindings = &identity.bindings;
            let now = self.shared.now();
            bindings.reject(plan.key.attestation, binding, is_explicit(error), now);
            self.drop_stored(plan, &binding.binding);
            self.shared.state.inner().attestations.drop_of(key.id());
        }
        refused || dead
    }
}

/// Whether the peer said that it refuses the certificate, by an answer or an alert. Where the connection only ended after the
/// certificate was presented, a proxy may have ended it.
fn is_explicit(error: &Error) -> bool {
    let transport = error
        .source()
        .and_then(|source| source.downcast_ref::<TransportError>());
    !transport.is_some_and(TransportError::is_connection_lost)
}

/// How often a refused certificate is replaced within one acquisition.
const REMEDIES: u32 = 2;
/// Before the first remedy; doubled before the next. By chance up to half of it less.
const FIRST_WAIT: Duration = Duration::from_millis(200);
