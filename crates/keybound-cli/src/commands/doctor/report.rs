//! What the checks found, as one screen of text and as JSON.
use super::columns::{fitted, wrapped};
use super::examination::Check;
use super::variables::Variables;
use crate::args::DoctorArgs;
use crate::diagnosis::{Conceal, Finding, Level, host};
use crate::report::{ErrorReport, specific_chain};
use crate::text::{millis, printable_line, rfc3339};
use clap::builder::styling::{AnsiColor, Style};
use keybound::{Clock as _, KeyStrength, SystemClock};
use keybound_core::printable;
use serde::Serialize;

/// What all checks found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    ok: bool,
    time: String,
    program: Program,
    request: Request,
    checks: Vec<CheckReport>,
}

/// The program and its host.
#[derive(Debug, Serialize)]
struct Program {
    version: &'static str,
    openssl: &'static str,
    os: String,
    architecture: &'static str,
}

/// The token that the host was checked for.
#[derive(Debug, Serialize)]
struct Request {
    token: &'static str,
    min_strength: Option<&'static str>,
    attestation: bool,
    simulated: bool,
    workload_identity: bool,
}

/// What a check found, without secrets.
#[derive(Debug, Serialize)]
struct CheckReport {
    check: &'static str,
    result: &'static str,
    detail: String,
    next_step: Option<String>,
    elapsed_ms: Option<f64>,
    error: Option<ErrorReport>,
    #[serde(skip)]
    level: Level,
    /// The reason of the error, unless the detail says it.
    #[serde(skip)]
    reason: Option<String>,
}

impl Report {
    pub(super) fn new(args: &DoctorArgs, checks: Vec<Check>, variables: &Variables) -> Self {
        let checks: Vec<_> = checks
            .into_iter()
            .map(|check| CheckReport::new(check, variables))
            .collect();
        Self {
            ok: checks.iter().all(|check| check.level != Level::Problem),
            time: rfc3339(SystemClock.now()),
            program: Program {
                version: env!("CARGO_PKG_VERSION"),
                openssl: host::openssl(),
                os: host::os(),
                architecture: std::env::consts::ARCH,
            },
            request: Request::new(args),
            checks,
        }
    }

    /// Whether no check found a problem.
    pub(super) fn is_ok(&self) -> bool {
        self.ok
    }

    /// The report in lines of at most 80 columns, with ANSI styles.
    pub(super) fn text(&self) -> String {
        let program = &self.program;
        let mut lines = vec![
            format!("keybound {}, {}", program.version, self.time),
            fitted(
                &format!("{} ({})", program.os, program.architecture),
                SCREEN,
            ),
            self.request.text(),
            String::new(),
        ];
        lines.extend(self.checks.iter().flat_map(|check| check.lines()));
        lines.push(String::new());
        lines.extend(wrapped(&self.summary(), SCREEN));
        lines.join("\n")
    }

    fn summary(&self) -> String {
        let names = |level: Level| {
            let of_level = self.checks.iter().filter(move |check| check.level == level);
            of_level.map(|check| check.check).collect::<Vec<_>>()
        };
        let named = |level: Level, noun: &str| match &names(level)[..] {
            [] => format!("0 {noun}s"),
            [name] => format!("1 {noun} ({name})"),
            several => format!("{} {noun}s ({})", several.len(), several.join(", ")),
        };
        format!(
            "doctor: {}, {}, {} ok, {} skipped",
            named(Level::Problem, "problem"),
            named(Level::Warning, "warning"),
            names(Level::Ok).len(),
            names(Level::Skipped).len()
        )
    }
}

impl Request {
    fn new(args: &DoctorArgs) -> Self {
        let strength = KeyStrength::from(args.host.min_strength).as_str();
        Self {
            token: match args.bearer {
                true => "bearer",
                false => "mtls_pop",
            },
            min_strength: (!args.bearer).then_some(strength),
            attestation: !args.bearer && !args.host.no_attestation,
            simulated: args.host.simulated,
            workload_identity: args.workload_identity,
        }
    }

    fn text(&self) -> String {
        let Some(strength) = self.min_strength else {
            return match self.workload_identity {
                true => "for plain bearer tokens of the app registration of AKS workload identity",
                false => "for plain bearer tokens",
            }
            .to_owned();
        };
        let attested = match (self.simulated, self.attestation) {
            (true, _) => "simulated: proves nothing about Azure",
            (false, true) => "attested",
            (false, false) => "not attested",
        };
        format!("for bound tokens, key at least {strength}, {attested}")
    }
}

impl CheckReport {
    fn new(check: Check, variables: &Variables) -> Self {
        let conceal = Conceal { show_ids: false };
        // The texts are the program's own; names of hosts in them are masked where they are added.
        let text = |text: &str| conceal.ids(&printable_line(text));
        let Finding {
            level,
            detail,
            next_step,
            error,
            omits_error,
        } = check.finding;
        let of_outside = |part: &str| conceal.text(&variables.mask(part));
        let reason = error.as_ref().filter(|_| !omits_error);
        let reason = reason.map(|error| of_outside(&specific_chain(error)));
        let error = error.map(|error| {
            let report = ErrorReport::new(&error);
            let report = match &next_step {
                Some(next_step) => report.with_next_step(next_step),
                None => report,
            };
            report.redacted(of_outside, keybound_core::redact)
        });
        Self {
            check: check.name,
            result: level.as_str(),
            detail: text(&detail),
            next_step: next_step.as_deref().map(text),
            elapsed_ms: check.elapsed.map(millis),
            error,
            level,
            reason,
        }
    }

    /// The result, the name and what was found, then what to do about it.
    fn lines(&self) -> Vec<String> {
        let found = match &self.reason {
            Some(reason) => format!("{}: {reason}", self.detail),
            None => self.detail.clone(),
        };
        // Names of variables are limited by themselves.
        let limit = match self.check {
            "environment" => MAX_NAMES,
            _ => MAX_TEXT,
        };
        let mut lines = wrapped(&printable(&found, limit), WIDTH);
        if let Some(next) = &self.next_step {
            let next = printable(&format!("next: {next}"), MAX_NEXT);
            lines.extend(wrapped(&next, WIDTH));
        }
        let style = style(self.level);
        let head = format!("{style}{:<8}{style:#} {:<12} ", self.result, self.check);
        let rest = " ".repeat(INDENT);
        let line = |(index, line): (usize, String)| match index {
            0 => format!("{head}{line}"),
            _ => format!("{rest}{line}"),
        };
        lines.into_iter().enumerate().map(line).collect()
    }
}

fn style(level: Level) -> Style {
    match level {
        Level::Ok => AnsiColor::Green.on_default(),
        Level::Warning => AnsiColor::Yellow.on_default().bold(),
        Level::Problem => AnsiColor::Red.on_default().bold(),
        Level::Skipped => Style::new().dimmed(),
    }
}

/// The columns of the result and the name.
const INDENT: usize = 22;
const WIDTH: usize = SCREEN - INDENT;
const SCREEN: usize = 80;
/// Of one text, in characters: services may send any number.
const MAX_TEXT: usize = 300;
/// Of a next step, which is the program's own text.
const MAX_NEXT: usize = 500;
const MAX_NAMES: usize = 2000;
