//! Compares results with the expected ones, and checks what must hold for every token.
use super::case::{Acquire, Counts, End, ExpectError, ExpectServiceError};
use super::runner::Run;
use super::{Leg, TestHost};
use crate::{AccessToken, Clock as _, Error, Result};
use keybound_core::lock;
use keybound_testing::assert_no_leak;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The problems of a result.
pub(super) fn check_outcome(
    host: &TestHost,
    acquire: &Acquire,
    resource: Option<&str>,
    outcome: &Result<AccessToken>,
    after: f64,
) -> Vec<String> {
    let expect = &acquire.expect;
    assert_no_leak(
        &lock(&host.history).secrets,
        &debug_output(outcome),
        "the result",
    );
    let mut problems = Vec::new();
    match (outcome, &expect.error) {
        (Ok(token), None) => {
            problems.extend(check_token(
                host,
                acquire,
                resource.unwrap_or_default(),
                token,
            ));
        }
        (Err(error), Some(expected)) => problems.extend(check_error(error, expected)),
        (Ok(_), Some(expected)) => {
            problems.push(format!("a token instead of the error {}", expected.kind))
        }
        (Err(error), None) => problems.push(format!("an error: {error:?}")),
    }
    if let Some(expected) = expect.after.filter(|expected| !expected.matches(after)) {
        problems.push(format!("returned after {after} s, not {expected:?}"));
    }
    problems
}

/// The Debug output of a result and of its error's causes.
fn debug_output(outcome: &Result<AccessToken>) -> String {
    let mut text = format!("{outcome:#?}");
    let failure = match outcome {
        Ok(token) => token.refresh_failure(),
        Err(error) => Some(error),
    };
    let mut cause = failure.map(|error| error as &dyn std::error::Error);
    while let Some(error) = cause {
        text += &format!("{error} {error:?}");
        cause = error.source();
    }
    text
}

/// The invariants of every token, and the expectations of this one.
fn check_token(
    host: &TestHost,
    acquire: &Acquire,
    resource: &str,
    token: &AccessToken,
) -> Vec<String> {
    let expect = &acquire.expect;
    let claims = token.unverified_claims().expect("a JWT");
    let number: usize = claims.text("jti").unwrap().parse().unwrap();
    let issued = lock(&host.history).tokens[number - 1].clone();
    let mut problems = check_invariants(host, resource, token);
    let failure = token.refresh_failure().map_or("none", |e| e.kind().code());
    problems.expect_same("source", expect.source.as_deref(), token.source().as_str());
    problems.expect_same(
        "managed identity source",
        expect.managed_identity_source.as_deref(),
        token.managed_identity_source().as_str(),
    );
    problems.expect_same("certificate", expect.certificate, issued.certificate);
    problems.expect_same("token", expect.token, number);
    problems.expect_same(
        "renewal failure",
        expect.refresh_failure.as_deref(),
        failure,
    );
    if token.binding().is_none() != (acquire.bearer || acquire.bearer_over_mtls) {
        problems.push("the token has the wrong type".to_owned());
    }
    problems
}

/// The invariants of a token: not expired on either clock, bound to its certificate, for the requested resource.
pub(super) fn check_invariants(
    host: &TestHost,
    resource: &str,
    token: &AccessToken,
) -> Vec<String> {
    let claims = token.unverified_claims().expect("a JWT");
    let number: usize = claims.text("jti").unwrap().parse().unwrap();
    let issued = lock(&host.history).tokens[number - 1].clone();
    let resource = resource.trim_end_matches("/.default");
    let mut problems = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            problems.push(format!("token {number} {what}"));
        }
    };
    must(issued.expires > host.true_time(), "has expired");
    let by_host = token.expires_on() > host.now();
    must(by_host, "has expired by the host's clock");
    must(issued.resource == resource, "is for another resource");
    if let Some(binding) = token.binding() {
        let thumbprint = binding.certificate().thumbprints().x5t_s256.to_string();
        must(
            host.certificate_number(&thumbprint) == Some(issued.certificate),
            "has another certificate",
        );
        must(
            claims.confirmation() == Some(&*thumbprint),
            "is bound to another certificate",
        );
        must(
            binding.certificate().not_after() > host.true_time(),
            "has a certificate that has expired",
        );
        must(
            binding.certificate().not_after() > host.now(),
            "has a certificate that has expired by the host's clock",
        );
    }
    problems
}

fn check_error(error: &Error, expected: &ExpectError) -> Vec<String> {
    let mut problems = Vec::new();
    problems.expect_same("kind", Some(&*expected.kind), error.kind().code());
    let stage = expected.stage.as_deref();
    problems.expect_same("stage", stage, error.stage().as_str());
    problems.expect_same("status", expected.status.map(Some), error.status());
    let deadline = expected.deadline_exceeded;
    problems.expect_same("deadline", deadline, error.deadline_exceeded());
    problems.expect_same("retryable", expected.retryable, error.is_retryable());
    if let Some(code) = expected.code {
        let has = error
            .service()
            .is_some_and(|service| service.has_code(code));
        problems.expect_same("code", Some(true), has);
    }
    if let Some(message) = &expected.message {
        let contains = error.to_string().contains(message);
        problems.expect_same("message", Some(true), contains);
    }
    let service_error = error.service().map(|service| ExpectServiceError {
        error: service.error.clone(),
        error_description: service.description.clone(),
        error_codes: service.codes.clone(),
        trace_id: service.trace_id.clone(),
        correlation_id: service.correlation_id.clone(),
        timestamp: service.timestamp.clone(),
    });
    problems.expect_same(
        "service error",
        expected.service_error.clone().map(Some),
        service_error,
    );
    if let Some(step) = &expected.next_step {
        let contains = error.kind().next_step().contains(step);
        problems.expect_same("next step", Some(true), contains);
    }
    if !problems.is_empty() {
        problems.push(format!("{error:?}"));
    }
    problems
}

/// The counts that differ.
pub(super) fn check_counts(run: &Run, expected: &Counts) -> Vec<String> {
    let mut problems = Vec::new();
    let calls = |leg| run.host.calls(leg);
    let issue = calls(Leg::Issue);
    let bypassed = issue.iter().filter(|call| call.bypass()).count();
    let attestations: HashSet<_> = issue
        .iter()
        .filter_map(|c| c.body.get("attestation_token"))
        .collect();
    let certificates = lock(&run.host.history).certificates.len();
    let keys = run.keys.opened.load(Ordering::Relaxed);
    let stored = run.store.as_ref().map_or(0, |store| store.len());
    problems.expect_same(
        "metadata calls",
        expected.metadata,
        calls(Leg::Metadata).len(),
    );
    problems.expect_same("issue calls", expected.issue, issue.len());
    problems.expect_same("attest calls", expected.attest, calls(Leg::Attest).len());
    problems.expect_same("token calls", expected.token, calls(Leg::Token).len());
    for (name, leg, expected) in [
        ("challenge calls", Leg::Challenge, expected.challenge),
        ("source calls", Leg::Source, expected.source),
    ] {
        problems.expect_same(name, expected, calls(leg).len());
    }
    problems.expect_same("bypassed calls", expected.bypassed, bypassed);
    problems.expect_same("certificates", expected.certificates, certificates);
    problems.expect_same("keys opened", expected.keys, keys);
    problems.expect_same("stored", expected.stored, stored);
    let sent = expected.attestations_sent;
    problems.expect_same("attestations sent", sent, attestations.len());
    problems
}

/// Compares the totals of a case with the expected ones.
pub(super) fn check_end(run: &mut Run, expected: &End, elapsed: Duration) {
    let mut problems = check_counts(run, &expected.counts);
    for (leg, waits) in &expected.waits {
        let calls = run.host.calls(*leg);
        let gaps: Vec<f64> = calls
            .windows(2)
            .map(|pair| (pair[1].at - pair[0].at).as_secs_f64())
            .collect();
        let matches = gaps.len() == waits.len()
            && waits
                .iter()
                .zip(&gaps)
                .all(|(wait, gap)| wait.matches(*gap));
        if !matches {
            problems.push(format!("{leg:?} waited {gaps:?}, not {waits:?}"));
        }
    }
    if let Some(claims) = &expected.claims {
        let sent: Vec<Value> = run
            .host
            .calls(Leg::Token)
            .iter()
            .map(|call| match call.parameters.get("claims") {
                Some(claims) => serde_json::from_str(claims).unwrap(),
                None => Value::Null,
            })
            .collect();
        problems.expect_same("claims", Some(claims), &sent);
    }
    let queries = run.host.calls(Leg::Source);
    let queries = queries.iter().map(|call| json!(call.parameters)).collect();
    let expected_queries = expected.source_queries.as_ref();
    problems.expect_same("source queries", expected_queries, &queries);
    let elapsed = elapsed.as_secs_f64();
    if let Some(expected) = expected
        .elapsed
        .filter(|expected| !expected.matches(elapsed))
    {
        problems.push(format!("took {elapsed} s, not {expected:?}"));
    }
    let unused = lock(&run.host.script).unused();
    problems.expect_same("unused responses", Some(0), unused);
    problems.append(&mut lock(&run.host.history).violations);
    run.problems.append(&mut problems);
}

/// Collects what differs.
trait Problems {
    /// Adds a problem if the value is not the expected one; without one, any value is.
    fn expect_same<T: PartialEq + Debug>(&mut self, what: &str, expected: Option<T>, actual: T);
}

impl Problems for Vec<String> {
    fn expect_same<T: PartialEq + Debug>(&mut self, what: &str, expected: Option<T>, actual: T) {
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            self.push(format!("{what}: {actual:?}, not {expected:?}"));
        }
    }
}
