//! What came out, held against what must; and what must always hold.
use super::case::{Acquire, Counts, End, ExpectError, Said};
use super::leaks::assert_none;
use super::runner::Run;
use super::{Leg, World};
use crate::{AccessToken, Clock as _, Error, Result};
use keybound_core::lock;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What is wrong with an answer.
pub(super) fn check_outcome(
    world: &World,
    asked: &Acquire,
    resource: Option<&str>,
    outcome: &Result<AccessToken>,
    after: f64,
) -> Vec<String> {
    let expect = &asked.expect;
    assert_none(&lock(&world.seen).secrets, &shown(outcome), "an answer");
    let mut wrong = Vec::new();
    match (outcome, &expect.error) {
        (Ok(token), None) => {
            wrong.extend(check_token(
                world,
                asked,
                resource.unwrap_or_default(),
                token,
            ));
        }
        (Err(error), Some(expected)) => wrong.extend(check_error(error, expected)),
        (Ok(_), Some(expected)) => wrong.push(format!("a token, and not {}", expected.kind)),
        (Err(error), None) => wrong.push(format!("an error: {error:?}")),
    }
    if let Some(expected) = expect.after.filter(|expected| !expected.holds(after)) {
        wrong.push(format!("came after {after} s, not {expected:?}"));
    }
    wrong
}

/// All that can be printed of an answer, causes included.
fn shown(outcome: &Result<AccessToken>) -> String {
    let mut text = format!("{outcome:#?}");
    let failure = match outcome {
        Ok(token) => token.renewal_failure(),
        Err(error) => Some(error),
    };
    let mut cause = failure.map(|error| error as &dyn std::error::Error);
    while let Some(error) = cause {
        text += &format!("{error} {error:?}");
        cause = error.source();
    }
    text
}

/// What must hold of every token; and what is expected of this one.
fn check_token(world: &World, asked: &Acquire, resource: &str, token: &AccessToken) -> Vec<String> {
    let expect = &asked.expect;
    let claims = token.unverified_claims().expect("a JWT");
    let number: usize = claims.text("jti").unwrap().parse().unwrap();
    let issued = lock(&world.seen).tokens[number - 1].clone();
    let mut wrong = sound(world, resource, token);
    let failure = token.renewal_failure().map_or("none", |e| e.kind().code());
    differs(
        &mut wrong,
        "source",
        expect.source.as_deref(),
        token.source().as_str(),
    );
    differs(
        &mut wrong,
        "certificate",
        expect.certificate,
        issued.certificate,
    );
    differs(&mut wrong, "token", expect.token, number);
    differs(
        &mut wrong,
        "failure",
        expect.renewal_failure.as_deref(),
        failure,
    );
    if token.binding().is_none() != asked.bearer {
        wrong.push("of the wrong type".to_owned());
    }
    wrong
}

/// Whatever happens: not expired by any clock, bound to the certificate that it comes with, for the right resource.
pub(super) fn sound(world: &World, resource: &str, token: &AccessToken) -> Vec<String> {
    let claims = token.unverified_claims().expect("a JWT");
    let number: usize = claims.text("jti").unwrap().parse().unwrap();
    let issued = lock(&world.seen).tokens[number - 1].clone();
    let resource = resource.trim_end_matches("/.default");
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("token {number} {what}"));
        }
    };
    must(issued.expires > world.true_time(), "has expired");
    let by_host = token.expires_on() > world.now();
    must(by_host, "has expired by the host's clock");
    must(issued.resource == resource, "is for another resource");
    if let Some(binding) = token.binding() {
        let thumbprint = binding.certificate().thumbprints().x5t_s256.to_string();
        must(
            world.certificate_number(&thumbprint) == Some(issued.certificate),
            "comes with another certificate",
        );
        must(
            claims.confirmation() == Some(&*thumbprint),
            "is bound to another certificate",
        );
        must(
            binding.certificate().not_after() > world.true_time(),
            "comes with a certificate that has ended",
        );
        must(
            binding.certificate().not_after() > world.now(),
            "comes with a certificate that has ended by the host's clock",
        );
    }
    wrong
}

fn check_error(error: &Error, expected: &ExpectError) -> Vec<String> {
    let mut wrong = Vec::new();
    differs(
        &mut wrong,
        "kind",
        Some(&*expected.kind),
        error.kind().code(),
    );
    let stage = expected.stage.as_deref();
    differs(&mut wrong, "stage", stage, error.stage().as_str());
    differs(
        &mut wrong,
        "status",
        expected.status.map(Some),
        error.status(),
    );
    let deadline = expected.deadline_reached;
    differs(&mut wrong, "deadline", deadline, error.deadline_reached());
    differs(
        &mut wrong,
        "retryable",
        expected.retryable,
        error.is_retryable(),
    );
    if let Some(code) = expected.code {
        let has = error
            .service()
            .is_some_and(|service| service.has_code(code));
        differs(&mut wrong, "code", Some(true), has);
    }
    if let Some(words) = &expected.words {
        let said = error.to_string();
        differs(&mut wrong, "words", Some(true), said.contains(words));
    }
    let said = error.service().map(|service| Said {
        error: service.error.clone(),
        error_description: service.description.clone(),
        error_codes: service.codes.clone(),
        trace_id: service.trace_id.clone(),
        correlation_id: service.correlation_id.clone(),
        timestamp: service.timestamp.clone(),
    });
    differs(&mut wrong, "said", expected.said.clone().map(Some), said);
    if let Some(step) = &expected.next_step {
        let named = error.kind().next_step().contains(step);
        differs(&mut wrong, "next step", Some(true), named);
    }
    if !wrong.is_empty() {
        wrong.push(format!("{error:?}"));
    }
    wrong
}

/// What is wrong with the counts.
pub(super) fn check_counts(run: &Run, expected: &Counts) -> Vec<String> {
    let mut wrong = Vec::new();
    let calls = |leg| run.world.calls(leg);
    let issue = calls(Leg::Issue);
    let bypassed = issue.iter().filter(|call| call.bypass).count();
    let attestations: HashSet<_> = issue.iter().filter_map(|c| c.attestation.clone()).collect();
    let certificates = lock(&run.world.seen).certificates.len();
    let keys = run.keys.opened.load(Ordering::Relaxed);
    let stored = run.store.as_ref().map_or(0, |store| store.entries());
    differs(
        &mut wrong,
        "metadata calls",
        expected.metadata,
        calls(Leg::Metadata).len(),
    );
    differs(&mut wrong, "issue calls", expected.issue, issue.len());
    differs(
        &mut wrong,
        "attest calls",
        expected.attest,
        calls(Leg::Attest).len(),
    );
    differs(
        &mut wrong,
        "token calls",
        expected.token,
        calls(Leg::Token).len(),
    );
    differs(&mut wrong, "bypassed calls", expected.bypassed, bypassed);
    differs(
        &mut wrong,
        "certificates",
        expected.certificates,
        certificates,
    );
    differs(&mut wrong, "keys opened", expected.keys, keys);
    differs(&mut wrong, "stored", expected.stored, stored);
    let sent = expected.attestations_sent;
    differs(&mut wrong, "attestations sent", sent, attestations.len());
    wrong
}

/// Holds the end against what must be.
pub(super) fn check_end(run: &mut Run, expected: &End, elapsed: Duration) {
    let mut wrong = check_counts(run, &expected.counts);
    for (leg, waits) in &expected.waits {
        let calls = run.world.calls(*leg);
        let gaps: Vec<f64> = calls
            .windows(2)
            .map(|pair| (pair[1].at - pair[0].at).as_secs_f64())
            .collect();
        let holds = gaps.len() == waits.len()
            && waits.iter().zip(&gaps).all(|(wait, gap)| wait.holds(*gap));
        if !holds {
            wrong.push(format!("{leg:?} waited {gaps:?}, not {waits:?}"));
        }
    }
    if let Some(claims) = &expected.claims {
        let sent: Vec<Value> = run
            .world
            .calls(Leg::Token)
            .iter()
            .map(|call| match &call.claims {
                Some(claims) => serde_json::from_str(claims).unwrap(),
                None => Value::Null,
            })
            .collect();
        differs(&mut wrong, "claims", Some(claims), &sent);
    }
    let elapsed = elapsed.as_secs_f64();
    if let Some(expected) = expected.elapsed.filter(|expected| !expected.holds(elapsed)) {
        wrong.push(format!("took {elapsed} s, not {expected:?}"));
    }
    let rest = lock(&run.world.script).rest();
    differs(&mut wrong, "answers never asked for", Some(0), rest);
    wrong.append(&mut lock(&run.world.seen).wrong);
    run.wrong.append(&mut wrong);
}

fn differs<T: PartialEq + Debug>(wrong: &mut Vec<String>, what: &str, expected: Option<T>, is: T) {
    if expected.as_ref().is_some_and(|expected| *expected != is) {
        let expected = expected.expect("just seen");
        wrong.push(format!("{what}: {is:?}, not {expected:?}"));
    }
}
