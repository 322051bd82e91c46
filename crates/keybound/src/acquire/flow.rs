use super::{ClientContext, Progress};
use crate::step::{Step, StepEvent};
use keybound_core::Result;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

/// A flow: the steps to a certificate (metadata → key → CSR → attestation → credential) or to a token (token → binding check).
/// It has no deadline: it is cancelled when no caller waits for it.
pub(crate) struct Flow {
    pub(super) context: Arc<ClientContext>,
    pub(super) progress: Arc<Progress>,
    pub(super) request_id: Uuid,
}

impl Flow {
    pub(crate) fn new(
        context: Arc<ClientContext>,
        progress: Arc<Progress>,
        request_id: Uuid,
    ) -> Self {
        Self {
            context,
            progress,
            request_id,
        }
    }

    /// Runs a step, records its duration, logs it, and reports it to the client's listener.
    pub(super) async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.progress.enter(step.stage());
        let started = Instant::now();
        let (name, request_id) = (step.as_str(), self.request_id);
        let span = tracing::debug_span!("keybound_step", step = name, %request_id);
        let result = work.instrument(span).await;
        let elapsed = started.elapsed();
        let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
        let error = result.as_ref().err();
        match error {
            None => {
                tracing::info!(target: LOG_TARGET, step = name, elapsed_ms, %request_id, "done");
            }
            Some(error) => {
                tracing::warn!(target: LOG_TARGET, step = name, elapsed_ms, %request_id, code = error.kind().code(), "failed");
            }
        }
        self.progress.finish(step, elapsed, error.is_none());
        if let Some(listener) = &self.context.settings.on_step {
            (listener.0)(&StepEvent {
                step,
                elapsed,
                correlation_id: request_id.to_string(),
                error: error.cloned(),
            });
        }
        result
    }
}

/// The documented target of the log events of steps.
const LOG_TARGET: &str = "keybound::step";
