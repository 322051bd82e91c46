use super::{Context, Event, Fields, Layer, Subscriber, lock};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Records the steps that the library reports, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<StepRecord>>>);

/// A step that has ended.
#[derive(Clone, Debug)]
struct StepRecord {
    step: String,
    elapsed: Duration,
    failed: bool,
}

impl Recorder {
    /// The step at which the flow failed; `None` where the last step succeeded.
    pub(crate) fn failed(&self) -> Option<String> {
        let records = self.records();
        let last = records.last().filter(|last| last.failed);
        last.map(|last| last.step.clone())
    }

    /// The total duration of a step over all its runs; `None` where it did not run.
    pub(crate) fn elapsed(&self, step: &str) -> Option<Duration> {
        let records = self.records();
        let runs = records.iter().filter(|record| record.step == step);
        runs.map(|record| record.elapsed)
            .reduce(|sum, one| sum + one)
    }

    fn records(&self) -> MutexGuard<'_, Vec<StepRecord>> {
        lock(&self.0)
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let milliseconds = fields.get("elapsed_ms").and_then(|ms| ms.parse().ok());
        let elapsed = Duration::try_from_secs_f64(milliseconds.unwrap_or(0.0) / 1000.0);
        self.records().push(StepRecord {
            step: fields.get("step").unwrap_or_default().to_owned(),
            elapsed: elapsed.unwrap_or_default(),
            failed: fields.get("code").is_some(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn steps_are_recorded_with_their_durations_and_the_outcome_of_the_last() {
        let recorder = Recorder::default();
        let subscriber = tracing_subscriber::registry().with(recorder.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(step = "token", elapsed_ms = 2.0, code = "refused", "failed");
            assert_eq!(recorder.failed().as_deref(), Some("token"));
            tracing::info!(step = "token", elapsed_ms = 3.5, "done");
        });
        assert_eq!(recorder.failed(), None);
        assert_eq!(
            recorder.elapsed("token"),
            Some(Duration::from_micros(5_500))
        );
        assert_eq!(recorder.elapsed("key"), None);
    }
}
