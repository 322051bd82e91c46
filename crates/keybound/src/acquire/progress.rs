//! What can be seen of an acquisition while it lasts: its step, its times, the last thing that a service said.
use crate::access_token::{Step, StepTiming};
use keybound_core::{Error, ErrorKind, Stage, lock};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The progress of one acquisition.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    stage: Stage,
    timings: Vec<StepTiming>,
    last_failure: Option<Error>,
    /// The acquisition that this one waits for.
    within: Option<Arc<Progress>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new(Seen {
            stage: Stage::Request,
            timings: Vec::new(),
            last_failure: None,
            within: None,
        }))
    }
}

impl Progress {
    pub(crate) fn enter(&self, stage: Stage) {
        lock(&self.0).stage = stage;
    }

    pub(crate) fn took(&self, step: Step, elapsed: Duration) {
        lock(&self.0).timings.push(StepTiming { step, elapsed });
    }

    /// The step went well: what was said on the way there explains nothing any more.
    pub(crate) fn succeeded(&self) {
        lock(&self.0).last_failure = None;
    }

    /// Notes what a service said to an attempt that is repeated.
    pub(crate) fn note_failure(&self, error: Error) {
        lock(&self.0).last_failure = Some(error);
    }

    pub(crate) fn timings(&self) -> Vec<StepTiming> {
        lock(&self.0).timings.clone()
    }

    /// The error of a caller whose time is over: the last thing that a service said, else the step that it was at.
    pub(crate) fn out_of_time(&self) -> Error {
        match self.last_failure() {
            Some(error) => error.with_deadline_reached(),
            None => Error::new(
                ErrorKind::DeadlineReached,
                self.stage(),
                "the step was not over in time",
            ),
        }
    }

    /// That of the acquisition that this one waits for is the later one.
    fn last_failure(&self) -> Option<Error> {
        let (own, within) = {
            let seen = lock(&self.0);
            (seen.last_failure.clone(), seen.within.clone())
        };
        within.and_then(|within| within.last_failure()).or(own)
    }

    fn stage(&self) -> Stage {
        let (own, within) = {
            let seen = lock(&self.0);
            (seen.stage, seen.within.clone())
        };
        within.map_or(own, |within| within.stage())
    }
}

impl Progress {
    /// Reports another execution until [`leave`](Self::leave).
    pub(crate) fn follow(&self, other: &Arc<Self>) {
        lock(&self.0).within = Some(Arc::clone(other));
    }

    /// Ends [`follow`](Self::follow); the timings of the other execution are added to these.
    pub(crate) fn leave(&self) {
        let within = lock(&self.0).within.take();
        if let Some(within) = within {
            let timings = within.timings();
            lock(&self.0).timings.extend(timings);
        }
    }
}
