//! The progress of an acquisition while it runs: its stage, its timings, and the last failed attempt.
use crate::step::{Step, StepTiming};
use keybound_core::{Error, ErrorKind, Stage, lock};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The progress of one acquisition.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    stage: Stage,
    timings: Vec<StepTiming>,
    last_failure: Option<Error>,
    /// The execution that this one waits for.
    nested: Option<Arc<Progress>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new(State {
            stage: Stage::Request,
            timings: Vec::new(),
            last_failure: None,
            nested: None,
        }))
    }
}

impl Progress {
    pub(crate) fn enter(&self, stage: Stage) {
        lock(&self.0).stage = stage;
    }

    /// Records the duration of a step. Failed attempts of a step that succeeded are no longer the last failure.
    pub(crate) fn finish(&self, step: Step, elapsed: Duration, succeeded: bool) {
        let mut state = lock(&self.0);
        state.timings.push(StepTiming { step, elapsed });
        if succeeded {
            state.last_failure = None;
        }
    }

    /// Records the error of an attempt that is retried.
    pub(crate) fn note_failure(&self, error: Error) {
        lock(&self.0).last_failure = Some(error);
    }

    pub(crate) fn timings(&self) -> Vec<StepTiming> {
        lock(&self.0).timings.clone()
    }

    /// The error of a caller whose deadline has passed: the last failure, otherwise the current stage.
    pub(crate) fn deadline_error(&self) -> Error {
        match self.last_failure() {
            Some(error) => error.with_deadline_exceeded(),
            None => Error::new(
                ErrorKind::DeadlineExceeded,
                self.stage(),
                "the step did not finish before the deadline",
            ),
        }
    }

    /// The last failure; that of the nested execution is the later one.
    fn last_failure(&self) -> Option<Error> {
        let (own, nested) = {
            let state = lock(&self.0);
            (state.last_failure.clone(), state.nested.clone())
        };
        nested.and_then(|nested| nested.last_failure()).or(own)
    }

    fn stage(&self) -> Stage {
        let (own, nested) = {
            let state = lock(&self.0);
            (state.stage, state.nested.clone())
        };
        nested.map_or(own, |nested| nested.stage())
    }

    /// Reports the progress of another execution until [`end_nested`](Self::end_nested).
    pub(crate) fn begin_nested(&self, other: &Arc<Self>) {
        lock(&self.0).nested = Some(Arc::clone(other));
    }

    /// Ends [`begin_nested`](Self::begin_nested), and adds the timings of the other execution.
    pub(crate) fn end_nested(&self) {
        let nested = lock(&self.0).nested.take();
        if let Some(nested) = nested {
            let timings = nested.timings();
            lock(&self.0).timings.extend(timings);
        }
    }
}
