use super::{ClientContext, Progress};
use crate::access_token::Step;
use keybound_core::{Result, Stage};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

/// A flow: the steps to a certificate (metadata → key → CSR → attestation → credential) or to a token (token → binding check).
/// It has no deadline of its own: it ends with its last waiter.
pub(crate) struct Flow {
    pub(super) shared: Arc<ClientContext>,
    pub(super) progress: Arc<Progress>,
    pub(super) request_id: Uuid,
}

impl Flow {
    pub(crate) fn new(
        shared: Arc<ClientContext>,
        progress: Arc<Progress>,
        request_id: Uuid,
    ) -> Self {
        Self {
            shared,
            progress,
            request_id,
        }
    }

    /// Runs one step, records its time, and logs it.
    pub(super) async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.progress.enter(stage_of(step));
        let started = Instant::now();
        let (name, request_id) = (step.as_str(), self.request_id);
        let span = tracing::debug_span!("keybound_step", step = name, %request_id);
        let result = work.instrument(span).await;
        let elapsed = started.elapsed();
        let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
        match &result {
            Ok(_) => {
                self.progress.succeeded();
                tracing::info!(target: STEP_TARGET, step = name, elapsed_ms, %request_id, "done");
            }
            Err(error) => {
                tracing::warn!(target: STEP_TARGET, step = name, elapsed_ms, %request_id, code = error.kind().code(), "failed");
            }
        }
        self.progress.took(step, elapsed);
        result
    }
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

/// The target under which each step is logged with its time: what `-v` shows.
const STEP_TARGET: &str = "keybound::step";
