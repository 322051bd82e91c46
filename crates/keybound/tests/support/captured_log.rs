//! The log of this process, at every level and from every thread, as text.
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

/// A position in the log.
pub struct Mark(usize);

/// Starts capturing, if it has not started, and returns the current position.
pub fn mark() -> Mark {
    Mark(text().len())
}

impl Mark {
    /// The log since this position, of other tests too.
    pub fn since(&self) -> String {
        text()[self.0..].to_owned()
    }
}

fn text() -> MutexGuard<'static, String> {
    CAPTURED.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Capture(Arc<Mutex<String>>);

impl Capture {
    fn record(&self, name: &str, record: impl FnOnce(&mut Line)) {
        let mut line = Line(name.to_owned());
        record(&mut line);
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&line.0);
        text.push('\n');
    }
}

impl<S: tracing::Subscriber> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.record(attributes.metadata().name(), |line| attributes.record(line));
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        self.record("record", |line| values.record(line));
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        self.record(event.metadata().target(), |line| event.record(line));
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").expect("a String accepts any text");
    }
}

static CAPTURED: LazyLock<Arc<Mutex<String>>> = LazyLock::new(|| {
    let captured = Arc::default();
    let subscriber = Registry::default().with(Capture(Arc::clone(&captured)));
    tracing::subscriber::set_global_default(subscriber).expect("no other subscriber is installed");
    captured
});
