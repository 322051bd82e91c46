//! One attempt to get what is not remembered: a certificate (metadata → key → CSR → attestation → credential) or a token
//! (token → binding check), with the remedy for a refused certificate.
mod attestation;
mod call;
mod credential;
mod csr;
mod key;
mod metadata;
mod mint;
mod obtain;
mod probe;
mod refusal;
mod sender;
mod token;

pub(crate) use mint::mint;
pub(crate) use obtain::obtain;

use crate::access_token::Step;
use crate::client::Shared;
use crate::progress::Progress;
use keybound_core::{Result, Stage};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

/// One attempt under way. It has no deadline of its own: it lasts while somebody waits for it.
pub(crate) struct Flow {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    request_id: Uuid,
}

impl Flow {
    pub(crate) fn new(shared: Arc<Shared>, progress: Arc<Progress>, request_id: Uuid) -> Self {
        Self {
            shared,
            progress,
            request_id,
        }
    }

    /// Runs one step, keeps its time, and tells of it.
    async fn step<T>(&self, step: Step, work: impl Future<Output = Result<T>>) -> Result<T> {
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

/// Under this target each step is told with its time: what `-v` shows.
const STEP_TARGET: &str = "keybound::step";
