//! The steps of one acquisition, from the step events of the library and the result.
use super::report::StepResult;
use crate::diagnosis::{Conceal, Lifetime};
use crate::report::check_binding;
use crate::steps::title;
use crate::text::span;
use keybound::{
    AccessToken, Binding, Clock as _, Error, ErrorKind, Step, StepEvent, SystemClock, TokenType,
};
use std::time::Duration;

/// All steps of an acquisition that did not run.
pub(super) fn skipped(why: &str) -> Vec<StepResult> {
    let names = STEPS.iter();
    names
        .map(|(name, _)| StepResult::skipped(name, why))
        .collect()
}

/// The result of each step: those before the failed one succeeded, those after it were skipped.
pub(super) fn results(
    acquired: &Result<AccessToken, Error>,
    events: &[StepEvent],
    attested: bool,
    conceal: Conceal,
) -> Vec<StepResult> {
    let error = acquired.as_ref().err();
    let failed = error.map(|error| (failed_position(error, events), error));
    let result = |(position, &(name, step)): (usize, &(&'static str, Option<Step>))| {
        let elapsed = step.and_then(|step| elapsed(step, events));
        let result = match failed {
            Some((at, error)) if position == at => {
                let detail = format!("{} failed", subject(name));
                StepResult::failed(name, detail, Some(error.clone()))
            }
            Some((at, _)) if position > at => StepResult::skipped(name, "an earlier step failed"),
            _ if name == "attestation" && !attested => {
                StepResult::skipped(name, "attestation was not requested")
            }
            _ if step.is_some() && elapsed.is_none() => StepResult::skipped(
                name,
                "not needed: the stored certificate of an earlier run was used",
            ),
            _ => succeeded(name, acquired.as_ref().ok(), conceal),
        };
        result.elapsed(elapsed)
    };
    STEPS.iter().enumerate().map(result).collect()
}

fn succeeded(name: &'static str, token: Option<&AccessToken>, conceal: Conceal) -> StepResult {
    match (name, token) {
        ("token_type", Some(token)) => token_type(token),
        ("token_type", None) => StepResult::ok(name, "as requested"),
        ("binding", Some(token)) => binding(token),
        _ => StepResult::ok(name, detail(name, token, conceal)),
    }
}

fn token_type(token: &AccessToken) -> StepResult {
    let found = token.token_type();
    let detail = format!("the token is of type {}", found.as_str());
    match found {
        TokenType::MtlsPop => StepResult::ok("token_type", detail),
        _ => StepResult::failed("token_type", detail, None),
    }
}

/// Checked again, by the claims of the token and the certificate.
fn binding(token: &AccessToken) -> StepResult {
    const NAME: &str = "binding";
    match token.binding().map(|binding| check_binding(token, binding)) {
        Some(Ok(())) => StepResult::ok(NAME, "cnf.x5t#S256 is the SHA-256 of the certificate"),
        Some(Err(error)) => StepResult::failed(NAME, "the token is not bound", Some(error)),
        None => StepResult::failed(NAME, "the token is not bound", None),
    }
}

fn detail(name: &str, token: Option<&AccessToken>, conceal: Conceal) -> String {
    let extra = token.and_then(|token| match name {
        "key" => Some(format!(
            "strength {}",
            token.binding()?.key_strength_label()
        )),
        "attestation" => Some(token.binding()?.attestation().as_str().to_owned()),
        "credential" => Some(certificate(token.binding()?, conceal)),
        "token" => Some(remaining_lifetime(token)),
        _ => None,
    });
    match extra {
        Some(extra) => format!("{}: {extra}", title(name)),
        None => title(name).to_owned(),
    }
}

fn certificate(binding: &Binding, conceal: Conceal) -> String {
    let certificate = binding.certificate();
    conceal.text(&format!(
        "client id {}, tenant {}, {}, issued by {}, {}",
        binding.client_id(),
        binding.tenant_id(),
        binding.identity_type(),
        certificate.issuer(),
        Lifetime::of(certificate).times(),
    ))
}

fn remaining_lifetime(token: &AccessToken) -> String {
    let remaining = token.expires_on().duration_since(SystemClock.now());
    format!("valid for {}", span(remaining.unwrap_or_default()))
}

/// The position of the failed step: that of the last event, if it has an error, otherwise the first step of the error's stage
/// without an event.
fn failed_position(error: &Error, events: &[StepEvent]) -> usize {
    let position = |found: &dyn Fn(&str, Option<Step>) -> bool| {
        STEPS.iter().position(|(name, step)| found(name, *step))
    };
    if error.kind() == ErrorKind::TokenTypeMismatch {
        return position(&|name, _| name == "token_type").unwrap_or(0);
    }
    let of_stage = || {
        let steps = STEPS.iter().filter_map(|(_, step)| *step);
        steps.filter(|step| step.stage() == error.stage())
    };
    let last = events.last().filter(|event| event.error.is_some());
    let step = last
        .map(|event| event.step)
        .or_else(|| of_stage().find(|step| elapsed(*step, events).is_none()))
        .or_else(|| of_stage().next_back());
    step.and_then(|failed| position(&|_, step| step == Some(failed)))
        .unwrap_or(0)
}

/// The total duration of a step over all its runs; `None` if it did not run.
fn elapsed(step: Step, events: &[StepEvent]) -> Option<Duration> {
    let runs = events.iter().filter(|event| event.step == step);
    runs.map(|event| event.elapsed).reduce(|sum, one| sum + one)
}

fn subject(name: &str) -> &'static str {
    match name {
        "metadata" => "the metadata request to IMDS",
        "key" => "opening the binding key",
        "csr" => "the certificate signing request",
        "attestation" => "the attestation of the key",
        "credential" => "the issuance of the certificate by IMDS",
        "token" => "the token request to Entra",
        "token_type" => "the check of the token's type",
        _ => "the check of the token's binding",
    }
}

/// The names in the report, in their order, with the steps of the library.
const STEPS: [(&str, Option<Step>); 8] = [
    ("metadata", Some(Step::Metadata)),
    ("key", Some(Step::Key)),
    ("csr", Some(Step::Csr)),
    ("attestation", Some(Step::Attestation)),
    ("credential", Some(Step::Credential)),
    ("token", Some(Step::Token)),
    ("token_type", None),
    ("binding", Some(Step::BindingCheck)),
];
