//! The output of `-v`: each step when it ends, and the log events of the libraries, as lines on standard error.
mod recorder;

pub(crate) use recorder::Recorder;

use crate::out;
use crate::text::{printable_line, timestamp};
use keybound_core::lock;
use std::fmt::{self, Write as _};
use std::sync::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{Filtered, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging: nothing at verbosity 0, steps and notable events at 1, everything at 2. `KEYBOUND_LOG` (`LEVEL` or
/// `TARGET=LEVEL,…`) overrides the verbosity; a malformed value is ignored with a warning.
pub(crate) fn log(verbosity: u8, target: &str) {
    if let Some(lines) = lines(verbosity, target) {
        // A second call has no effect.
        let _ = tracing_subscriber::registry().with(lines).try_init();
    }
}

/// As [`log`], and records the steps of the flow.
pub(crate) fn log_and_record(verbosity: u8, target: &str) -> Recorder {
    let recorder = Recorder::default();
    let steps = Targets::new().with_target(STEP_TARGET, Level::INFO);
    let _ = tracing_subscriber::registry()
        .with(recorder.clone().with_filter(steps))
        .with(lines(verbosity, target))
        .try_init();
    recorder
}

fn lines<S>(verbosity: u8, target: &str) -> Option<Filtered<Lines, Targets, S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // Invalid Unicode is replaced; the result does not parse as a list of targets.
    let filter = std::env::var_os("KEYBOUND_LOG")
        .filter(|text| !text.is_empty())
        .map(|text| text.to_string_lossy().into_owned());
    let level = match verbosity {
        0 => None,
        1 => Some(Level::INFO),
        _ => Some(Level::DEBUG),
    };
    let targets = match filter.as_deref().map(str::parse::<Targets>) {
        Some(Ok(targets)) => targets,
        Some(Err(_)) => {
            out::log("warning: KEYBOUND_LOG is not LEVEL or TARGET=LEVEL,…; ignored");
            Targets::new().with_target(target, level)
        }
        None if level.is_none() => return None,
        None => Targets::new().with_target(target, level),
    };
    Some(Lines(Mutex::new(String::new())).with_filter(targets))
}

/// The number of a step of the flow, in its order; 0 for the metadata request, which precedes the key.
pub(crate) fn number(step: &str) -> u8 {
    let position = ORDER.iter().position(|known| *known == step);
    position
        .and_then(|position| u8::try_from(position).ok())
        .unwrap_or(0)
}

/// What a step does, for people.
pub(crate) fn title(step: &str) -> &str {
    match step {
        "metadata" => "platform metadata fetched from IMDS",
        "key" => "binding key opened",
        "csr" => "certificate signing request signed and verified",
        "attestation" => "key attested",
        "credential" => "certificate issued by IMDS and checked",
        "token" => "token issued by Entra over mutual TLS",
        "binding_check" => "token is bound to the certificate",
        "resource" => "resource called over mutual TLS",
        other => other,
    }
}

/// The target of the step events of the library and of `call`.
pub(crate) const STEP_TARGET: &str = "keybound::step";

/// Writes events as lines; holds the correlation id that was logged last.
struct Lines(Mutex<String>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(id) = fields.get("request_id") {
            let mut logged = lock(&self.0);
            if *logged != id {
                id.clone_into(&mut logged);
                out::log(&format!(
                    "{} correlation id {}",
                    timestamp(),
                    printable_line(id)
                ));
            }
        }
        let line = match event.metadata().target() {
            STEP_TARGET => fields.step_line(),
            target => fields.plain_line(event.metadata().level(), target),
        };
        out::log(&format!("{} {}", timestamp(), printable_line(&line)));
    }
}

/// The fields of an event, in their order.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn step_line(&self) -> String {
        let step = self.get("step").unwrap_or_default();
        let elapsed: f64 = self
            .get("elapsed_ms")
            .and_then(|ms| ms.parse().ok())
            .unwrap_or(0.0);
        let end = match self.get("code") {
            None => format!("{} [{elapsed:.1} ms]", title(step)),
            Some(code) => format!("{step} failed: {code} [{elapsed:.1} ms]"),
        };
        format!("step {} {end}", number(step))
    }

    fn plain_line(&self, level: &Level, target: &str) -> String {
        let crate_name = target.split("::").next().unwrap_or(target);
        let mut line = format!("{} {crate_name}:", level.as_str().to_ascii_lowercase());
        for (name, value) in &self.0 {
            // Writing to a String does not fail.
            let _ = match *name {
                "message" => write!(line, " {value}"),
                "request_id" => Ok(()),
                name => write!(line, " {name}={value}"),
            };
        }
        line
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), value.to_string()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

/// The steps of the flow; the metadata request, which precedes the key, is 0.
const ORDER: [&str; 8] = [
    "metadata",
    "key",
    "csr",
    "attestation",
    "credential",
    "token",
    "binding_check",
    "resource",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &str)]) -> Fields {
        Fields(
            fields
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn steps_are_numbered_in_the_order_of_the_flow() {
        let line = fields(&[("step", "credential"), ("elapsed_ms", "1.25")]).step_line();
        assert_eq!(
            line,
            "step 4 certificate issued by IMDS and checked [1.2 ms]"
        );
        let line =
            fields(&[("step", "token"), ("elapsed_ms", "3"), ("code", "refused")]).step_line();
        assert_eq!(line, "step 5 token failed: refused [3.0 ms]");
    }

    #[test]
    fn other_events_show_their_fields() {
        let line = fields(&[
            ("message", "trying again"),
            ("attempt", "2"),
            ("request_id", "x"),
        ])
        .plain_line(&Level::INFO, "keybound::flow::call");
        assert_eq!(line, "info keybound: trying again attempt=2");
    }
}
