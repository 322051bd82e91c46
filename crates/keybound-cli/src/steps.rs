//! The steps of the flow and the log events of the libraries, as lines on standard error (`-v`).
use crate::out;
use crate::text::{printable_line, timestamp};
use keybound::{Error, StepEvent};
use keybound_core::lock;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

/// The steps of the flow: logged if the verbosity or `KEYBOUND_LOG` requires it, and recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepLog(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    targets: Targets,
    lines: Lines,
    events: Mutex<Vec<StepEvent>>,
}

/// Starts logging: nothing at verbosity 0, steps and notable events at 1, everything at 2. `KEYBOUND_LOG` (`LEVEL` or
/// `TARGET=LEVEL,…`) overrides the verbosity; a malformed value is ignored with a warning.
pub(crate) fn log(verbosity: u8, target: &str) -> StepLog {
    let targets = targets(verbosity, target);
    let lines = Lines::default();
    // The library logs its steps too.
    let events = targets.clone().with_target(STEP_TARGET, LevelFilter::OFF);
    // A second call has no effect.
    let _ = Registry::default()
        .with(lines.clone().with_filter(events))
        .try_init();
    StepLog(Arc::new(Inner {
        targets,
        lines,
        events: Mutex::default(),
    }))
}

/// Starts logging of a daemon: warnings at verbosity 0, notable events at 1, everything at 2. `KEYBOUND_LOG` overrides the verbosity.
pub(crate) fn log_warnings(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let targets = targets_at(level, "keybound");
    // A second call has no effect.
    let _ = Registry::default()
        .with(Lines::default().with_filter(targets))
        .try_init();
}

fn targets(verbosity: u8, target: &str) -> Targets {
    let level = match verbosity {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    targets_at(level, target)
}

fn targets_at(level: LevelFilter, target: &str) -> Targets {
    let default = Targets::new().with_target(target, level);
    // Invalid Unicode is replaced; the result does not parse as a list of targets.
    let filter = std::env::var_os("KEYBOUND_LOG").filter(|text| !text.is_empty());
    match filter.map(|text| text.to_string_lossy().parse()) {
        None => default,
        Some(Ok(targets)) => targets,
        Some(Err(_)) => {
            out::log("warning: KEYBOUND_LOG is not LEVEL or TARGET=LEVEL,…; ignored");
            default
        }
    }
}

impl StepLog {
    /// The listener for the builder of the client.
    pub(crate) fn listener(&self) -> impl Fn(&StepEvent) + Send + Sync + 'static {
        let log = self.clone();
        move |event| {
            log.events().push(event.clone());
            let id = Some(event.correlation_id.as_str());
            log.line(event.step.as_str(), event.elapsed, event.error.as_ref(), id);
        }
    }

    /// Logs the call of the resource.
    pub(crate) fn resource(&self, elapsed: Duration, error: Option<&Error>) {
        self.line("resource", elapsed, error, None);
    }

    /// The recorded events, in their order.
    pub(crate) fn events(&self) -> MutexGuard<'_, Vec<StepEvent>> {
        lock(&self.0.events)
    }

    fn line(&self, step: &str, elapsed: Duration, error: Option<&Error>, id: Option<&str>) {
        let level = error.map_or(Level::INFO, |_| Level::WARN);
        if self.0.targets.would_enable(STEP_TARGET, &level) {
            self.0.lines.write(id, &step_line(step, elapsed, error));
        }
    }
}

fn step_line(step: &str, elapsed: Duration, error: Option<&Error>) -> String {
    let outcome = match error {
        None => title(step).to_owned(),
        Some(error) => format!("{step} failed: {}", error.kind().code()),
    };
    let elapsed = elapsed.as_secs_f64() * 1000.0;
    format!("step {} {outcome} [{elapsed:.1} ms]", number(step))
}

/// The number of a step in its flow; 0 for the metadata request, which precedes the key, and for a challenge.
pub(crate) fn number(step: &str) -> usize {
    find(step).map_or(0, |(_, number, _)| *number)
}

/// The title of a step, or its name.
pub(crate) fn title(step: &str) -> &str {
    find(step).map_or(step, |(_, _, title)| title)
}

fn find(step: &str) -> Option<&'static (&'static str, usize, &'static str)> {
    STEPS.iter().find(|(name, ..)| *name == step)
}

/// Writes log lines; holds the correlation id that was logged last.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<String>>);

impl Lines {
    fn write(&self, correlation_id: Option<&str>, line: &str) {
        let mut logged = lock(&self.0);
        if let Some(id) = correlation_id.filter(|id| logged.as_str() != *id) {
            id.clone_into(&mut logged);
            let id = printable_line(id);
            out::log(&format!("{} correlation id {id}", timestamp()));
        }
        out::log(&format!("{} {}", timestamp(), printable_line(line)));
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let crate_name = metadata.target().split("::").next().unwrap_or_default();
        let level = metadata.level().as_str().to_ascii_lowercase();
        let mut text = EventText {
            line: format!("{level} {crate_name}:"),
            correlation_id: None,
        };
        event.record(&mut text);
        self.write(text.correlation_id.as_deref(), &text.line);
    }
}

/// An event as text: its message and its fields, without the correlation id.
struct EventText {
    line: String,
    correlation_id: Option<String>,
}

impl EventText {
    fn add(&mut self, field: &Field, value: String) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "request_id" => {
                self.correlation_id = Some(value);
                Ok(())
            }
            "message" => write!(self.line, " {value}"),
            name => write!(self.line, " {name}={value}"),
        };
    }
}

impl Visit for EventText {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

/// The target of the step events in the library's log.
const STEP_TARGET: &str = "keybound::step";
/// The steps with their numbers and titles: those to a bound token in their order, then those to a plain bearer token
/// and to one of an app registration.
const STEPS: [(&str, usize, &str); 12] = [
    ("metadata", 0, "platform metadata fetched from IMDS"),
    ("key", 1, "binding key opened"),
    ("csr", 2, "certificate signing request signed and verified"),
    ("attestation", 3, "key attested"),
    ("credential", 4, "certificate issued by IMDS and checked"),
    ("token", 5, "token issued by Entra over mutual TLS"),
    ("binding_check", 6, "token is bound to the certificate"),
    ("resource", 7, "resource called"),
    ("challenge", 0, "challenge of Azure Arc answered"),
    ("source", 1, "token issued by the managed identity source"),
    ("assertion", 1, "assertion read and checked"),
    (
        "exchange",
        7,
        "assertion exchanged for a token of the app registration",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use keybound::{ErrorKind, Stage};

    #[test]
    fn numbers_steps_in_order_of_flow() {
        let line = step_line("credential", Duration::from_micros(1_250), None);
        assert_eq!(
            line,
            "step 4 certificate issued by IMDS and checked [1.2 ms]"
        );
        let error = Error::new(ErrorKind::Refused, Stage::Token, "refused");
        let line = step_line("token", Duration::from_millis(3), Some(&error));
        assert_eq!(line, "step 5 token failed: refused [3.0 ms]");
    }
}
