use super::{Context, Event, Fields, Layer, PoisonError, Subscriber};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Remembers the steps that the library told of, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Told>>>);

/// A step that is over.
#[derive(Clone, Debug)]
struct Told {
    step: String,
    elapsed: Duration,
    failed: bool,
}

impl Recorder {
    /// The step at which the flow ended in failure. `None` where what was told last went well.
    pub(crate) fn failed(&self) -> Option<String> {
        let told = self.told();
        let last = told.last().filter(|last| last.failed);
        last.map(|last| last.step.clone())
    }

    /// How long a step took, all times together that it was done. `None` where it was not.
    pub(crate) fn elapsed(&self, step: &str) -> Option<Duration> {
        let told = self.told();
        let times = told.iter().filter(|told| told.step == step);
        times.map(|told| told.elapsed).reduce(|sum, one| sum + one)
    }

    fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let milliseconds = fields.get("elapsed_ms").and_then(|ms| ms.parse().ok());
        let elapsed = Duration::try_from_secs_f64(milliseconds.unwrap_or(0.0) / 1000.0);
        self.told().push(Told {
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
    fn steps_are_remembered_with_their_times_and_the_last_ones_end() {
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
