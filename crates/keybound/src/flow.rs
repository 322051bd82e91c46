//! One acquisition, step by step: metadata → key → CSR → attestation → credential → token → binding check.
mod attestation;
mod call;
mod credential;
mod csr;
mod key;
mod metadata;
mod refusal;
mod token;

use crate::access_token::{AccessToken, IssuedToken, Step, StepTiming, TokenSource};
use crate::client::Shared;
use crate::{Binding, Pop, TokenRequest};
use keybound_core::{
    Attestation, BindingCacheKey, Error, ErrorKind, Result, Scope, Stage, TokenCacheKey, TokenType,
    merge_capabilities,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Acquires a token within the request's time.
pub(crate) async fn acquire(shared: &Shared, request: &TokenRequest) -> Result<AccessToken> {
    let plan = Plan::new(shared, request)?;
    let flow = Flow::new(shared, request.timeout);
    // The legs end by the deadline themselves and then say more; this is for what does not look at it.
    match tokio::time::timeout_at(flow.deadline + GRACE, flow.run(&plan)).await {
        Ok(result) => result,
        Err(_) => Err(flow.out_of_time()),
    }
}

/// What is asked for, checked before anything is done.
struct Plan {
    scope: Scope,
    token_type: TokenType,
    pop: Pop,
    attestation: Attestation,
    claims: Option<String>,
    challenged: bool,
    force_refresh: bool,
}

impl Plan {
    fn new(shared: &Shared, request: &TokenRequest) -> Result<Self> {
        let Some((token_type, pop)) = request.kind else {
            return Err(Error::invalid_request(
                "say which kind of token is wanted: proof_of_possession or bearer_over_mtls",
            ));
        };
        let simulated = shared
            .settings
            .attestation
            .as_ref()
            .is_some_and(|provider| provider.is_simulated());
        Ok(Self {
            scope: Scope::for_resource(&request.resource)?,
            token_type,
            pop,
            attestation: match (pop.attested, simulated) {
                (false, _) => Attestation::None,
                (true, false) => Attestation::Attested,
                (true, true) => Attestation::Simulated,
            },
            claims: merge_capabilities(request.claims.as_ref(), &shared.settings.capabilities)?,
            challenged: request.claims.is_some(),
            force_refresh: request.force_refresh,
        })
    }

    fn binding_key(&self, shared: &Shared) -> BindingCacheKey {
        BindingCacheKey {
            identity: shared.settings.identity.clone(),
            attestation: self.attestation,
        }
    }

    fn token_key(&self, shared: &Shared, binding: &Binding) -> TokenCacheKey {
        TokenCacheKey {
            identity: shared.settings.identity.clone(),
            scope: self.scope.clone(),
            token_type: self.token_type,
            attestation: self.attestation,
            min_strength: self.pop.min_strength,
            certificate: binding.certificate().thumbprints().x5t_s256.clone(),
        }
    }
}

/// One acquisition under way.
struct Flow<'a> {
    shared: &'a Shared,
    deadline: Instant,
    request_id: Uuid,
    progress: Mutex<Progress>,
}

struct Progress {
    stage: Stage,
    timings: Vec<StepTiming>,
}

impl<'a> Flow<'a> {
    fn new(shared: &'a Shared, timeout: Duration) -> Self {
        let progress = Progress {
            stage: Stage::Request,
            timings: Vec::new(),
        };
        Self {
            shared,
            deadline: Instant::now() + timeout.min(LONGEST_TIMEOUT),
            request_id: Uuid::new_v4(),
            progress: Mutex::new(progress),
        }
    }

    async fn run(&self, plan: &Plan) -> Result<AccessToken> {
        let now = self.shared.settings.clock.now();
        let key = plan.binding_key(self.shared);
        let current = self
            .shared
            .caches
            .binding(&key, now)
            .filter(|_| !plan.challenged);
        if let Some(binding) = &current {
            check_floor(binding, plan)?;
            if let Some(token) = self.cached_token(plan, binding) {
                return Ok(token);
            }
        }
        let binding = match current {
            Some(binding) => binding,
            None => self.mint(plan, &key).await?,
        };
        let issued = self.issue(plan, &key, &binding).await?;
        Ok(AccessToken {
            issued,
            source: TokenSource::IdentityProvider,
            timings: self.timings(),
        })
    }

    fn cached_token(&self, plan: &Plan, binding: &Binding) -> Option<AccessToken> {
        if plan.force_refresh || plan.challenged {
            return None;
        }
        let key = plan.token_key(self.shared, binding);
        let issued = self
            .shared
            .caches
            .token(&key, self.shared.settings.clock.now())?;
        Some(AccessToken {
            issued,
            source: TokenSource::Cache,
            timings: Arc::from([]),
        })
    }

    /// Has a certificate issued, one at a time for each identity.
    async fn mint(&self, plan: &Plan, key: &BindingCacheKey) -> Result<Arc<Binding>> {
        self.enter(Stage::Metadata);
        let gate = self.shared.caches.gate(key);
        let _passage = gate.lock().await;
        let now = self.shared.settings.clock.now();
        if let Some(binding) = self
            .shared
            .caches
            .binding(key, now)
            .filter(|_| !plan.challenged)
        {
            check_floor(&binding, plan)?;
            return Ok(binding);
        }
        let bypass = plan.challenged || self.shared.caches.was_rejected(key);
        // What TLS needs is read while IMDS is asked.
        let warm = tokio::task::spawn_blocking(keybound_tls::warm_up);
        let metadata = self.metadata().await?;
        let binding_key = self.open_key(plan.pop.min_strength).await?;
        let csr = self.signing_request(&metadata, &binding_key).await?;
        let attested = match plan.attestation {
            Attestation::None => None,
            _ => Some(self.attest(&metadata, &binding_key).await?),
        };
        let credential = self
            .credential(&metadata, &csr, attested.as_ref(), &binding_key, bypass)
            .await?;
        // Where it failed, making the client says why.
        let _ = warm.await;
        let binding = Arc::new(Binding::new(
            credential,
            binding_key,
            plan.attestation,
            &self.shared.settings,
        )?);
        self.shared.caches.put_binding(key.clone(), &binding);
        Ok(binding)
    }

    /// Asks for the token, checks it, and remembers it.
    async fn issue(
        &self,
        plan: &Plan,
        key: &BindingCacheKey,
        binding: &Arc<Binding>,
    ) -> Result<Arc<IssuedToken>> {
        let issued = self.token(plan, binding).await.inspect_err(|error| {
            if error.kind() == ErrorKind::ClientCertificateRejected {
                self.shared.caches.reject_binding(key, binding);
            }
        })?;
        let issued = Arc::new(issued);
        if !plan.challenged {
            let now = self.shared.settings.clock.now();
            self.shared.caches.put_token(
                plan.token_key(self.shared, binding),
                Arc::clone(&issued),
                now,
            );
        }
        Ok(issued)
    }

    /// Runs one step, keeps its time, and tells of it.
    async fn step<T>(&self, step: Step, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.enter(stage_of(step));
        let started = Instant::now();
        let result = work.await;
        let elapsed = started.elapsed();
        let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
        let (name, request_id) = (step.as_str(), self.request_id);
        match &result {
            Ok(_) => {
                tracing::info!(target: STEP_TARGET, step = name, elapsed_ms, %request_id, "done");
            }
            Err(error) => {
                tracing::warn!(target: STEP_TARGET, step = name, elapsed_ms, %request_id, code = error.kind().code(), "failed");
            }
        }
        self.with_progress(|progress| progress.timings.push(StepTiming { step, elapsed }));
        result
    }

    fn enter(&self, stage: Stage) {
        self.with_progress(|progress| progress.stage = stage);
    }

    fn timings(&self) -> Arc<[StepTiming]> {
        self.with_progress(|progress| progress.timings.as_slice().into())
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn out_of_time(&self) -> Error {
        let stage = self.with_progress(|progress| progress.stage);
        Error::new(
            ErrorKind::DeadlineReached,
            stage,
            "the time given passed before the step ended",
        )
    }

    fn with_progress<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn check_floor(binding: &Binding, plan: &Plan) -> Result<()> {
    if binding.key_strength() >= plan.pop.min_strength {
        return Ok(());
    }
    Err(key::too_weak(binding.key_strength(), plan.pop.min_strength))
}

fn stage_of(step: Step) -> Stage {
    match step {
        Step::Metadata => Stage::Metadata,
        Step::Key | Step::Csr => Stage::Key,
        Step::Attestation => Stage::Attestation,
        Step::Credential => Stage::Credential,
        Step::Token | Step::BindingCheck => Stage::Token,
    }
}

/// Under this target each step is told with its time: what `-v` shows.
const STEP_TARGET: &str = "keybound::step";
/// How long after the deadline a step that does not look at it is cut off.
const GRACE: Duration = Duration::from_millis(20);
/// A longer timeout is none; clocks overflow on much more.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
