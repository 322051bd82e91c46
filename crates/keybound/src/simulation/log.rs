//! The log of a case, at every level and on all threads of its runtime.
use keybound_core::lock;
use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, LazyLock, Mutex};
use tracing::dispatcher::{self, DefaultGuard};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// A subscriber that always exists. tracing caches that a callsite is disabled if it is first reached without a subscriber; a log
/// that another test starts at that moment would miss its events.
static ALWAYS_ENABLED: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Registry::default()));

/// Captured log lines.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Line>>>);

/// A new span, or an event.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The name of a span, or the message of an event.
    pub(super) name: String,
    fields: Vec<(&'static str, String)>,
    /// The `step` of the innermost span around an event.
    pub(super) within: Option<String>,
}

impl Line {
    /// The value of a field, as text.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| &**value)
    }
}

impl Log {
    /// Runs a future on a paused clock and captures its log.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        LazyLock::force(&ALWAYS_ENABLED);
        let dispatch = Dispatch::new(Registry::default().with(self.clone()));
        let for_threads = dispatch.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .on_thread_start(move || {
                let guard = dispatcher::set_default(&for_threads);
                THREAD_GUARD.with(|slot| *slot.borrow_mut() = Some(guard));
            })
            .build()
            .unwrap();
        dispatcher::with_default(&dispatch, || runtime.block_on(work))
    }

    /// The spans and events with this name, in order.
    pub(super) fn named(&self, name: &str) -> Vec<Line> {
        let lines = lock(&self.0);
        lines
            .iter()
            .filter(|line| line.name == name)
            .cloned()
            .collect()
    }

    /// The whole log.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for line in &*lock(&self.0) {
            write!(text, "{}", line.name).unwrap();
            for (field, value) in &line.fields {
                write!(text, " {field}={value}").unwrap();
            }
            text.push('\n');
        }
        text
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let step = fields.take("step");
        if let (Some(step), Some(span)) = (&step, context.span(id)) {
            span.extensions_mut().insert(Step(step.clone()));
            fields.0.push(("step", step.clone()));
        }
        lock(&self.0).push(Line {
            name: attributes.metadata().name().to_owned(),
            fields: fields.0,
            within: None,
        });
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        lock(&self.0).push(Line {
            name: "record".to_owned(),
            fields: fields.0,
            within: None,
        });
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.event_span(event);
        let within =
            span.and_then(|span| span.extensions().get::<Step>().map(|step| step.0.clone()));
        lock(&self.0).push(Line {
            name: fields.take("message").unwrap_or_default(),
            fields: fields.0,
            within,
        });
    }
}

struct Step(String);

#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(field, _)| *field == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

thread_local! {
    static THREAD_GUARD: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}
