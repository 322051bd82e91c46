use super::next_step::next_step;
use crate::text::printable_line;
use keybound::tls::TransportError;
use keybound::{Error, ServiceError};
use serde::Serialize;
use std::error::Error as _;

/// An error as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorReport {
    code: &'static str,
    stage: &'static str,
    message: String,
    status: Option<u16>,
    service: Option<ServiceReport>,
    retryable: bool,
    deadline_exceeded: bool,
    next_step: String,
    /// The message without the next step.
    #[serde(skip)]
    reason: String,
}

/// The error of the service as JSON.
#[derive(Debug, Serialize)]
struct ServiceReport {
    error: Option<String>,
    description: Option<String>,
    codes: Vec<u64>,
    trace_id: Option<String>,
    correlation_id: Option<String>,
    timestamp: Option<String>,
}

impl ErrorReport {
    pub(crate) fn new(error: &Error) -> Self {
        let (reason, next_step) = (chain(error), next_step(error));
        Self {
            code: error.kind().code(),
            stage: error.stage().as_str(),
            message: format!("{reason}; {next_step}"),
            reason,
            status: error.status(),
            service: error.service().map(ServiceReport::new),
            retryable: error.is_retryable(),
            deadline_exceeded: error.deadline_exceeded(),
            next_step,
        }
    }

    /// The same with another next step than that of the error.
    pub(crate) fn with_next_step(self, next_step: &str) -> Self {
        Self {
            message: format!("{}; {next_step}", self.reason),
            next_step: next_step.to_owned(),
            ..self
        }
    }

    /// The error and its causes in one line, without the next step.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn next_step(&self) -> &str {
        &self.next_step
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// Applies `text` to texts from outside, and `id` to the ids for the service's support.
    pub(crate) fn redacted(
        mut self,
        text: impl Fn(&str) -> String,
        id: impl Fn(&str) -> String,
    ) -> Self {
        self.message = text(&self.message);
        self.reason = text(&self.reason);
        if let Some(service) = &mut self.service {
            for field in [&mut service.error, &mut service.description] {
                *field = field.as_deref().map(&text);
            }
            for field in [
                &mut service.trace_id,
                &mut service.correlation_id,
                &mut service.timestamp,
            ] {
                *field = field.as_deref().map(&id);
            }
        }
        self
    }

    /// The error as lines of text: message and next step, stage and code, and the ids for the service's support.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            printable_line(&self.message),
            format!("stage: {}, code: {}", self.stage, self.code),
        ];
        lines.extend(self.service.as_ref().and_then(ServiceReport::traces));
        lines
    }
}

impl ServiceReport {
    fn new(service: &ServiceError) -> Self {
        Self {
            error: service.error.clone(),
            description: service.description.clone(),
            codes: service.codes.clone(),
            trace_id: service.trace_id.clone(),
            correlation_id: service.correlation_id.clone(),
            timestamp: service.timestamp.clone(),
        }
    }

    /// The ids for the service's support.
    fn traces(&self) -> Option<String> {
        let named = [
            ("trace id", &self.trace_id),
            ("correlation id", &self.correlation_id),
            ("timestamp", &self.timestamp),
        ];
        let named = named.into_iter().filter_map(|(name, value)| {
            Some(format!("{name} {}", printable_line(value.as_deref()?)))
        });
        let line = named.collect::<Vec<_>>().join(", ");
        (!line.is_empty()).then(|| format!("service: {line}"))
    }
}

/// The error and its causes in one line, separated by colons.
pub(crate) fn chain(error: &Error) -> String {
    let mut line = printable_line(&error.to_string());
    for cause in causes(error) {
        line.push_str(": ");
        line.push_str(&cause);
    }
    line
}

/// The same, without the message of the error itself if it only says what the connection's error says in detail.
pub(crate) fn specific_chain(error: &Error) -> String {
    let of_connection = error
        .source()
        .is_some_and(|source| source.is::<TransportError>());
    match of_connection {
        true => causes(error).collect::<Vec<_>>().join(": "),
        false => chain(error),
    }
}

/// The error as text: message, causes, ids, stage and code, next step.
pub(crate) fn error_text(error: &Error) -> String {
    let mut lines = vec![format!("error: {}", printable_line(&error.to_string()))];
    lines.extend(causes(error).map(|cause| format!("caused by: {cause}")));
    let service = error.service().map(ServiceReport::new);
    lines.extend(service.and_then(|service| service.traces()));
    lines.push(format!(
        "stage: {}, code: {}",
        error.stage(),
        error.kind().code()
    ));
    lines.push(format!("next: {}", next_step(error)));
    lines.join("\n")
}

/// The causes, outermost first, without those whose text is part of an earlier one.
fn causes(error: &Error) -> impl Iterator<Item = String> {
    let mut before = error.to_string();
    std::iter::successors(error.source(), |cause| (*cause).source())
        .take(MAX_CAUSES)
        .filter_map(move |cause| {
            let cause = cause.to_string();
            let new = !before.contains(&cause);
            before.push_str(&cause);
            new.then(|| printable_line(&cause))
        })
}

const MAX_CAUSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use keybound::{ErrorKind, Stage};

    fn hostile() -> Error {
        Error::new(ErrorKind::Refused, Stage::Token, "refused\u{1b}[2J")
            .with_status(400)
            .with_source(std::io::Error::other("because\u{202e}\r\nerror: forged"))
    }

    #[test]
    fn hostile_error_has_one_line_for_each_part() {
        let text = error_text(&hostile());
        let starts: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        assert_eq!(starts.len(), 4, "{text:?}");
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text:?}");
    }

    #[test]
    fn message_includes_causes_and_next_step() {
        let report = ErrorReport::new(&hostile());
        assert!(report.message.contains(": because"), "{}", report.message);
        assert!(report.message.ends_with(hostile().next_step()));
        assert_eq!((report.code, report.stage), ("refused", "token"));
    }

    #[test]
    fn omits_cause_that_repeats_the_error() {
        let error = Error::new(ErrorKind::KeyFailed, Stage::Key, "no key")
            .with_source(std::io::Error::other("no key"));
        assert_eq!(chain(&error), "no key");
    }
}
