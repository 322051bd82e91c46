use super::request_summary::RequestSummary;
use crate::args::SelftestArgs;
use crate::diagnosis::{Conceal, Finding, Level, host};
use crate::report::ErrorReport;
use crate::text::{millis, printable_line, rfc3339};
use keybound::{Clock as _, Error, SystemClock};
use serde::Serialize;
use std::time::Duration;

/// The results of all steps.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    ok: bool,
    simulated: bool,
    time: String,
    program: Program,
    request: RequestSummary,
    steps: Vec<StepReport>,
}

/// The program and its host.
#[derive(Debug, Serialize)]
struct Program {
    version: &'static str,
    openssl: &'static str,
    os: String,
    architecture: &'static str,
}

/// The result of a step.
#[derive(Debug)]
pub(super) struct StepResult {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    pub(super) detail: String,
    /// What to do about a failure, if that is more specific than the next step of its error.
    next_step: Option<String>,
    elapsed: Option<Duration>,
}

/// The outcome of a step.
#[derive(Debug)]
pub(super) enum Outcome {
    Ok,
    /// With the error, if the library returned one.
    Failed(Option<Error>),
    Skipped,
}

impl StepResult {
    pub(super) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Outcome::Ok, detail.into())
    }

    pub(super) fn failed(
        name: &'static str,
        detail: impl Into<String>,
        error: Option<Error>,
    ) -> Self {
        Self::new(name, Outcome::Failed(error), detail.into())
    }

    pub(super) fn skipped(name: &'static str, why: &str) -> Self {
        Self::new(name, Outcome::Skipped, why.to_owned())
    }

    /// The result of a step that `doctor` has too.
    pub(super) fn of(name: &'static str, finding: Finding) -> Self {
        let outcome = match finding.level {
            Level::Ok | Level::Warning => Outcome::Ok,
            Level::Problem => Outcome::Failed(finding.error),
            Level::Skipped => Outcome::Skipped,
        };
        Self {
            next_step: finding.next_step,
            ..Self::new(name, outcome, finding.detail)
        }
    }

    fn new(name: &'static str, outcome: Outcome, detail: String) -> Self {
        Self {
            name,
            outcome,
            detail,
            next_step: None,
            elapsed: None,
        }
    }

    /// Sets the duration, unless the step was skipped.
    pub(super) fn elapsed(mut self, elapsed: Option<Duration>) -> Self {
        if !matches!(self.outcome, Outcome::Skipped) {
            self.elapsed = elapsed;
        }
        self
    }
}

/// A step in the report, without secrets.
#[derive(Debug, Serialize)]
struct StepReport {
    step: &'static str,
    result: &'static str,
    detail: String,
    elapsed_ms: Option<f64>,
    error: Option<ErrorReport>,
}

impl StepReport {
    fn new(step: StepResult, conceal: Conceal) -> Self {
        let (result, error) = match step.outcome {
            Outcome::Ok => ("ok", None),
            Outcome::Failed(error) => ("failed", error),
            Outcome::Skipped => ("skipped", None),
        };
        let report = |error: Error| {
            let report = ErrorReport::new(&error);
            let report = match &step.next_step {
                Some(next_step) => report.with_next_step(next_step),
                None => report,
            };
            report.redacted(|text| conceal.text(text), keybound_core::redact)
        };
        Self {
            step: step.name,
            result,
            detail: conceal.ids(&printable_line(&step.detail)),
            elapsed_ms: step.elapsed.map(millis),
            error: error.map(report),
        }
    }

    fn lines(&self) -> Vec<String> {
        let elapsed = match self.elapsed_ms {
            Some(elapsed) => format!("{elapsed:.1}"),
            None => "-".to_owned(),
        };
        let head = format!(
            "{:<8} {:<20} {elapsed:>9} ms  {}",
            self.result, self.step, self.detail
        );
        let error = self.error.iter().flat_map(ErrorReport::lines);
        std::iter::once(head)
            .chain(error.map(|line| format!("         {line}")))
            .collect()
    }
}

impl Report {
    pub(super) fn new(
        args: &SelftestArgs,
        request: RequestSummary,
        steps: Vec<StepResult>,
    ) -> Self {
        let conceal = Conceal {
            show_ids: args.show_ids,
        };
        Self {
            ok: !steps
                .iter()
                .any(|step| matches!(step.outcome, Outcome::Failed(_))),
            simulated: args.host.simulated,
            time: rfc3339(SystemClock.now()),
            program: Program {
                version: env!("CARGO_PKG_VERSION"),
                openssl: host::openssl(),
                os: host::os(),
                architecture: std::env::consts::ARCH,
            },
            request,
            steps: steps
                .into_iter()
                .map(|step| StepReport::new(step, conceal))
                .collect(),
        }
    }

    /// Whether no step failed.
    pub(super) fn ok(&self) -> bool {
        self.ok
    }

    /// The report as text.
    pub(super) fn text(&self) -> String {
        let program = &self.program;
        let mut lines = vec![
            format!(
                "keybound {}, {}, {} ({}), {}",
                program.version, program.openssl, program.os, program.architecture, self.time
            ),
            self.request.text(),
        ];
        if self.simulated {
            lines.push("simulated key and attestation: this proves nothing about Azure".to_owned());
        }
        lines.push(String::new());
        lines.extend(self.steps.iter().flat_map(StepReport::lines));
        let count = |result: &str| {
            let matching = self.steps.iter().filter(|step| step.result == result);
            matching.count()
        };
        lines.push(format!(
            "\nselftest: {} ok, {} failed, {} skipped",
            count("ok"),
            count("failed"),
            count("skipped")
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound::{ErrorKind, Stage};

    #[test]
    fn error_has_the_next_step_of_a_shared_check() {
        let error = Error::new(ErrorKind::Unreachable, Stage::Metadata, "no connection");
        let finding = Finding::failed("IMDS does not respond", error).with_next_step("look there");
        let step = StepReport::new(
            StepResult::of("probe", finding),
            Conceal { show_ids: false },
        );
        assert!(step.lines()[1].ends_with("no connection; look there"));
        assert_eq!(step.error.unwrap().next_step(), "look there");
    }
}
