//! Captured spans and events of tracing, at every level.
use std::cell::RefCell;
use std::fmt::{self, Debug, Display};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::dispatcher::{self, DefaultGuard};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// The captured lines, in order.
#[derive(Clone, Default)]
pub struct CapturedLog(Arc<Captured>);

#[derive(Default)]
struct Captured {
    lines: Mutex<Vec<LogLine>>,
    added: Condvar,
}

/// A new span, fields that a span got later, or an event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogLine {
    /// The level.
    pub level: Level,
    /// The target.
    pub target: &'static str,
    /// The name of a span, or the message of an event.
    pub name: String,
    fields: Fields,
    span: Fields,
}

impl LogLine {
    /// The value of a field, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// The value of a field of the innermost span around an event.
    pub fn span_field(&self, name: &str) -> Option<&str> {
        self.span.get(name)
    }
}

impl Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.level, self.target, self.name)?;
        let mut fields = self.fields.0.iter();
        fields.try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl CapturedLog {
    /// The log of all threads of this process, from the first call.
    pub fn of_process() -> &'static Self {
        static LOG: LazyLock<CapturedLog> = LazyLock::new(|| {
            LazyLock::force(&ALWAYS_ENABLED);
            let log = CapturedLog::default();
            dispatcher::set_global_default(log.dispatch()).unwrap();
            tracing::callsite::rebuild_interest_cache();
            log
        });
        &LOG
    }

    /// Captures the log of this thread during a call.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        LazyLock::force(&ALWAYS_ENABLED);
        dispatcher::with_default(&self.dispatch(), work)
    }

    /// Runs a future on a runtime with a paused clock, and captures the log of all its threads.
    pub fn block_on_paused<T>(&self, work: impl Future<Output = T>) -> T {
        let for_threads = self.dispatch();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .on_thread_start(move || {
                let guard = dispatcher::set_default(&for_threads);
                THREAD_GUARD.with(|slot| *slot.borrow_mut() = Some(guard));
            })
            .build()
            .unwrap();
        self.during(|| runtime.block_on(work))
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<LogLine> {
        self.lock().clone()
    }

    /// The spans and events with this name.
    pub fn named(&self, name: &str) -> Vec<LogLine> {
        let lines = self.lock();
        let named = lines.iter().filter(|line| line.name == name);
        named.cloned().collect()
    }

    /// The lines that contain this text.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.lock();
        let lines = lines.iter().map(LogLine::to_string);
        lines.filter(|line| line.contains(text)).collect()
    }

    /// Waits for a line that contains this text, also from another thread.
    pub fn wait_for(&self, text: &str) -> String {
        let found = |lines: &[LogLine]| {
            let mut lines = lines.iter().map(LogLine::to_string);
            lines.find(|line| line.contains(text))
        };
        let (lines, waited) = self
            .0
            .added
            .wait_timeout_while(self.lock(), MAX_WAIT, |lines| found(lines).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "no line with {text:?}: {lines:#?}");
        found(&lines).unwrap()
    }

    /// The whole log.
    pub fn text(&self) -> String {
        self.text_since(0)
    }

    /// The number of lines so far.
    pub fn position(&self) -> usize {
        self.lock().len()
    }

    /// The log since a [position](Self::position).
    pub fn text_since(&self, position: usize) -> String {
        let lines = self.lock();
        let lines = lines[position..].iter();
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::new(Registry::default().with(CapturingLayer(self.clone())))
    }

    fn push(&self, metadata: &Metadata<'static>, name: String, fields: Fields, span: Fields) {
        self.lock().push(LogLine {
            level: *metadata.level(),
            target: metadata.target(),
            name,
            fields,
            span,
        });
        self.0.added.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LogLine>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct CapturingLayer(CapturedLog);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for CapturingLayer {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields.clone());
        }
        let metadata = attributes.metadata();
        let name = metadata.name().to_owned();
        self.0.push(metadata, name, fields, Fields::default());
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(metadata) = context.metadata(id) {
            let name = "record".to_owned();
            self.0.push(metadata, name, fields, Fields::default());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take("message").unwrap_or_default();
        let span = context.event_span(event);
        let span = span.and_then(|span| span.extensions().get::<Fields>().cloned());
        let span = span.unwrap_or_default();
        self.0.push(event.metadata(), message, fields, span);
    }
}

/// Names and values.
#[derive(Clone, Debug, Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        let (_, value) = fields.find(|(field, _)| *field == name)?;
        Some(value)
    }

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

/// A subscriber that always exists. tracing caches that a callsite is disabled if it is first reached without a subscriber; a log
/// that another test starts at that moment would miss its events. With a second subscriber, tracing asks both.
static ALWAYS_ENABLED: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Registry::default()));
const MAX_WAIT: Duration = Duration::from_secs(30);
