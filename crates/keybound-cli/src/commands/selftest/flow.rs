//! The steps of one acquisition, from the step events of the library and the result.
use super::conceal::Conceal;
use super::report::Step;
use crate::report::check_binding;
use crate::steps::{Recorder, title};
use crate::text::{rfc3339, span};
use keybound::{AccessToken, Binding, Clock as _, Error, ErrorKind, Stage, SystemClock, TokenType};
use std::time::Duration;

/// All steps of an acquisition that did not run.
pub(super) fn skipped(why: &str) -> Vec<Step> {
    let names = STEPS.iter();
    names.map(|&name| Step::skipped(name, why)).collect()
}

/// The result of each step: those before the failed one succeeded, those after it were skipped.
pub(super) fn steps_of(
    acquired: &Result<AccessToken, Error>,
    recorder: &Recorder,
    attested: bool,
    conceal: Conceal,
) -> Vec<Step> {
    let failed = acquired
        .as_ref()
        .err()
        .map(|error| (position_of(error, recorder), error));
    let names = STEPS.iter().enumerate();
    names
        .map(|(position, &name)| match failed {
            Some((at, error)) if position == at => Step::failed(
                name,
                format!("{} failed", subject(name)),
                Some(error.clone()),
                elapsed(name, recorder),
            ),
            Some((at, _)) if position > at => Step::skipped(name, "an earlier step failed"),
            _ => succeeded(name, acquired.as_ref().ok(), recorder, attested, conceal),
        })
        .collect()
}

fn succeeded(
    name: &'static str,
    token: Option<&AccessToken>,
    recorder: &Recorder,
    attested: bool,
    conceal: Conceal,
) -> Step {
    let took = elapsed(name, recorder);
    if name == "attestation" && !attested {
        return Step::skipped(name, "attestation was not requested");
    }
    match (name, token) {
        ("token_type", Some(token)) => token_type(token),
        ("binding", Some(token)) => binding(token, took),
        ("token_type", None) => Step::ok(name, "as requested", None),
        _ if took.is_none() => Step::skipped(
            name,
            "not needed: the stored certificate of an earlier run was used",
        ),
        _ => Step::ok(name, detail(name, token, conceal), took),
    }
}

fn token_type(token: &AccessToken) -> Step {
    let found = token.token_type();
    let detail = format!("the token is of type {}", found.as_str());
    match found {
        TokenType::MtlsPop => Step::ok("token_type", detail, None),
        _ => Step::failed("token_type", detail, None, None),
    }
}

/// Checked again, by the claims of the token and the certificate.
fn binding(token: &AccessToken, took: Option<Duration>) -> Step {
    const NAME: &str = "binding";
    match token.binding().map(|binding| check_binding(token, binding)) {
        Some(Ok(())) => Step::ok(NAME, "cnf.x5t#S256 is the SHA-256 of the certificate", took),
        Some(Err(error)) => Step::failed(NAME, "the token is not bound", Some(error), took),
        None => Step::failed(NAME, "the token is not bound", None, took),
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
        "token" => Some(remaining_life(token)),
        _ => None,
    });
    match extra {
        Some(extra) => format!("{}: {extra}", title(name)),
        None => title(name).to_owned(),
    }
}

fn certificate(binding: &Binding, conceal: Conceal) -> String {
    let certificate = binding.certificate();
    let for_tokens = certificate
        .token_not_after()
        .map(|end| format!(", for new tokens until {}", rfc3339(end)));
    conceal.text(&format!(
        "client id {}, tenant {}, {}, issued by {}, valid from {} until {}{}",
        binding.client_id(),
        binding.tenant_id(),
        binding.identity_type(),
        certificate.issuer(),
        rfc3339(certificate.not_before()),
        rfc3339(certificate.not_after()),
        for_tokens.unwrap_or_default(),
    ))
}

fn remaining_life(token: &AccessToken) -> String {
    let left = token.expires_on().duration_since(SystemClock.now());
    format!("valid for {}", span(left.unwrap_or_default()))
}

/// The step at which an error occurred: the one that was reported as failed, else the first of its stage without a report.
fn position_of(error: &Error, recorder: &Recorder) -> usize {
    if error.kind() == ErrorKind::TokenTypeMismatch {
        return position("token_type");
    }
    if let Some(step) = recorder.failed() {
        return position(reported(&step));
    }
    let of_stage: &[&str] = match error.stage() {
        Stage::Key => &["key", "csr"],
        Stage::Attestation => &["attestation"],
        Stage::Credential => &["credential"],
        Stage::Token => &["token", "binding"],
        _ => &["metadata"],
    };
    let open = of_stage
        .iter()
        .find(|name| elapsed(name, recorder).is_none());
    position(open.or(of_stage.last()).unwrap_or(&"metadata"))
}

fn position(step: &str) -> usize {
    STEPS.iter().position(|name| *name == step).unwrap_or(0)
}

fn elapsed(name: &str, recorder: &Recorder) -> Option<Duration> {
    recorder.elapsed(match name {
        "binding" => "binding_check",
        name => name,
    })
}

/// The name in the report for a step event of the library.
fn reported(step: &str) -> &str {
    match step {
        "binding_check" => "binding",
        step => step,
    }
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

/// The steps in their order.
const STEPS: [&str; 8] = [
    "metadata",
    "key",
    "csr",
    "attestation",
    "credential",
    "token",
    "token_type",
    "binding",
];
