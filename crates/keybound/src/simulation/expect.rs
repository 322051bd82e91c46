//! Compares results with the expected ones, and checks what must hold for every token.
use super::keys::TestKeyProvider;
use super::runner::Run;
use super::services::LEGS;
use super::{Leg, TestHost};
use crate::capabilities::{Capabilities, SecurityType};
use crate::{AccessToken, Clock as _, Error, KeyStrength, Result};
use keybound_core::lock;
use keybound_testing::assert_no_leak;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Expected members by name.
pub(super) type Members = Map<String, Value>;

/// The problems of an acquisition that took `after` seconds.
pub(super) fn check_outcome(
    host: &TestHost,
    resource: &str,
    is_bound: bool,
    expected: &Members,
    outcome: &Result<AccessToken>,
    after: f64,
) -> Vec<String> {
    let secrets = lock(&host.history).secrets.clone();
    assert_no_leak(&secrets, &debug_output(outcome), "the result");
    let (mut actual, mut problems) = match outcome {
        Ok(token) => (
            describe_token(host, token),
            check_invariants(host, resource, token),
        ),
        Err(error) => (json!({ "error": describe_error(error) }), Vec::new()),
    };
    actual["after"] = json!(after);
    problems.extend(differences(expected, &actual));
    match outcome {
        Ok(token) if token.binding().is_some() != is_bound => {
            problems.push("the token has the wrong type".to_owned());
        }
        Err(error) if !expected.contains_key("error") || !problems.is_empty() => {
            problems.push(format!("the error: {error:?}"));
        }
        _ => {}
    }
    problems
}

/// The problems of capabilities that were returned after `after` seconds.
pub(super) fn check_capabilities(
    expected: &Members,
    found: &Capabilities,
    after: f64,
) -> Vec<String> {
    assert_no_leak(
        &["swordfish".to_owned()],
        &format!("{found:#?}"),
        "capabilities",
    );
    let mut actual = describe_capabilities(found);
    actual["after"] = json!(after);
    let problems = differences(expected, &actual);
    match problems.is_empty() {
        true => problems,
        false => [problems, vec![format!("the capabilities: {actual}")]].concat(),
    }
}

fn describe_capabilities(found: &Capabilities) -> Value {
    let error = |error: &Option<Error>| error.as_ref().map(describe_error);
    let strength = |strength: Option<KeyStrength>| strength.map(KeyStrength::as_str);
    let imds = found
        .imds
        .as_ref()
        .map(|imds| json!({ "v1": imds.v1, "v2": imds.v2, "error": error(&imds.error) }));
    let security = found.security.as_ref().map(|security| {
        json!({
            "type": security.security_type.as_ref().map(SecurityType::as_str),
            "secure_boot": security.secure_boot,
            "virtual_tpm": security.virtual_tpm,
        })
    });
    json!({
        "source": found.source.as_str(),
        "source_reason": found.source_reason.as_str(),
        "source_variables": found.source_reason.variables(),
        "source_error": error(&found.source_error),
        "imds": imds,
        "imds_v2_disabled": found.imds_v2_disabled,
        "operating_system": found.operating_system.as_str(),
        "security": security,
        "security_error": error(&found.security_error),
        "strongest_key": strength(found.strongest_key),
        "simulated_key": found.simulated_key,
        "strongest_binding": strength(found.strongest_binding),
        "why_not_stronger": error(&found.why_not_stronger),
        "attestation": found.attestation.as_str(),
    })
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

fn describe_token(host: &TestHost, token: &AccessToken) -> Value {
    let number = number(token);
    json!({
        "source": token.source().as_str(),
        "managed_identity_source": token.managed_identity_source().map(|source| source.as_str()),
        "certificate": lock(&host.history).tokens[number - 1].certificate,
        "token": number,
        "refresh_failure": token.refresh_failure().map_or("none", |error| error.kind().code()),
    })
}

fn describe_error(error: &Error) -> Value {
    let service_error = error.service().map(|service| {
        json!({
            "error": service.error,
            "error_description": service.description,
            "error_codes": service.codes,
            "trace_id": service.trace_id,
            "correlation_id": service.correlation_id,
            "timestamp": service.timestamp,
        })
    });
    json!({
        "kind": error.kind().code(),
        "stage": error.stage().as_str(),
        "status": error.status(),
        "deadline_exceeded": error.deadline_exceeded(),
        "retryable": error.is_retryable(),
        "code": error.service().map(|service| &service.codes),
        "message": error.to_string(),
        "service_error": service_error,
        "next_step": error.next_step(),
    })
}

/// The number of an issued token.
fn number(token: &AccessToken) -> usize {
    let claims = token.unverified_claims().expect("a JWT");
    claims.text("jti").unwrap().parse().unwrap()
}

/// The invariants of a token: not expired on either clock, bound to its certificate, for the requested resource.
pub(super) fn check_invariants(
    host: &TestHost,
    resource: &str,
    token: &AccessToken,
) -> Vec<String> {
    let number = number(token);
    let issued = lock(&host.history).tokens[number - 1].clone();
    let resource = resource.trim_end_matches("/.default");
    let by_host = token.expires_on() > host.now();
    let mut rules = vec![
        (issued.expires > host.true_time(), "has expired"),
        (by_host, "has expired by the host's clock"),
        (issued.resource == resource, "is for another resource"),
    ];
    if let Some(binding) = token.binding() {
        let thumbprint = binding.certificate().thumbprints().x5t_s256.to_string();
        let presented = host.certificate_number(&thumbprint);
        let claims = token.unverified_claims().expect("a JWT");
        let confirmed = claims.confirmation() == Some(&*thumbprint);
        let end = binding.certificate().not_after();
        rules.extend([
            (
                presented == Some(issued.certificate),
                "has another certificate",
            ),
            (confirmed, "is bound to another certificate"),
            (end > host.true_time(), "has a certificate that has expired"),
            (
                end > host.now(),
                "has a certificate that has expired by the host's clock",
            ),
        ]);
    }
    let broken = rules.iter().filter(|(holds, _)| !holds);
    broken
        .map(|(_, rule)| format!("token {number} {rule}"))
        .collect()
}

/// The problems of a whole case.
pub(super) fn check_end(run: &Run, expected: &Members, elapsed: Duration) -> Vec<String> {
    let calls = |leg| run.host.calls(leg);
    let claims = |claims: &String| serde_json::from_str(claims).unwrap();
    let mut actual = json!({
        "counts": counts(run),
        "claims": calls(Leg::Token).iter().map(|call| call.parameters.get("claims").map_or(Value::Null, claims)).collect::<Vec<_>>(),
        "exchange_claims": calls(Leg::Exchange).iter().map(|call| call.parameters.get("claims").map_or(Value::Null, claims)).collect::<Vec<_>>(),
        "assertion_reasons": lock(&run.host.history).assertion_reasons,
        "exchange_scopes": calls(Leg::Exchange).iter().map(|call| call.parameter("scope").to_owned()).collect::<Vec<_>>(),
        "source_queries": calls(Leg::Source).iter().map(|call| json!(call.parameters)).collect::<Vec<_>>(),
        "elapsed": elapsed.as_secs_f64(),
    });
    for (leg, name) in LEGS {
        let calls = calls(leg);
        let gaps = calls.windows(2).map(|pair| pair[1].at - pair[0].at);
        let gaps: Vec<_> = gaps.map(|gap| gap.as_secs_f64()).collect();
        actual["waits"][name] = json!(gaps);
    }
    let mut problems = differences(expected, &actual);
    let unused = lock(&run.host.script).unused();
    if unused > 0 {
        problems.push(format!("{unused} responses were not sent"));
    }
    problems.append(&mut lock(&run.host.history).violations);
    problems
}

/// The numbers of requests and results so far.
pub(super) fn counts(run: &Run) -> Value {
    let issued = run.host.calls(Leg::Issue);
    let attestations = issued.iter().map(|call| call.body.get("attestation_token"));
    let opened = |keys: &TestKeyProvider| keys.opened.load(Ordering::Relaxed);
    let mut counts = json!({
        // The `issue` requests past IMDS's cache.
        "bypassed": issued.iter().filter(|call| call.bypass()).count(),
        "certificates": lock(&run.host.history).certificates.len(),
        // How often the key was opened.
        "keys": opened(&run.keys) + opened(&run.software_keys),
        "stored": run.store.as_ref().map_or(0, |store| store.len()),
        // Different attestation tokens.
        "attestations_sent": attestations.flatten().collect::<HashSet<_>>().len(),
    });
    for (leg, name) in LEGS {
        counts[name] = json!(run.host.calls(leg).len());
    }
    counts
}

/// What differs from the expected members; others are not checked.
pub(super) fn differences(expected: &Members, actual: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, expected) in expected {
        match (expected, actual.get(name)) {
            (_, None) => problems.push(format!("{name}: nothing, not {expected}")),
            (Value::Object(expected), Some(actual @ Value::Object(_))) => {
                let inner = differences(expected, actual);
                problems.extend(inner.iter().map(|problem| format!("{name}: {problem}")));
            }
            (_, Some(actual)) if matches(name, expected, actual) => {}
            (_, Some(actual)) => problems.push(format!("{name}: {actual}, not {expected}")),
        }
    }
    problems
}

/// Compares numbers with a tolerance, with a range if two are expected, and with any of several; and parts of messages.
fn matches(name: &str, expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(expected), Value::Number(actual)) => {
            let difference = expected.as_f64().unwrap() - actual.as_f64().unwrap();
            difference.abs() < TOLERANCE
        }
        (Value::Array(range), Value::Number(actual)) => {
            let actual = actual.as_f64().unwrap();
            let [Some(min), Some(max)] = [0, 1].map(|end| range.get(end)?.as_f64()) else {
                return false;
            };
            range.len() == 2 && (min - TOLERANCE..=max + TOLERANCE).contains(&actual)
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let mut pairs = expected.iter().zip(actual);
            expected.len() == actual.len() && pairs.all(|(one, other)| matches(name, one, other))
        }
        (Value::Number(_), Value::Array(actual)) => actual.contains(expected),
        (Value::String(part), Value::String(text)) if ["message", "next_step"].contains(&name) => {
            text.contains(part)
        }
        _ => expected == actual,
    }
}

#[test]
fn finds_each_kind_of_difference() {
    let actual = json!({
        "number": 1.01, "numbers": [1, 2], "objects": [{"a": 1, "b": 2}], "message": "a long text", "text": "a long text",
        "nothing": null, "inner": {"yes": true, "codes": [7, 8]},
    });
    for same in [
        json!({}),
        json!({"number": 1, "numbers": [1, 2], "nothing": null}),
        json!({"number": [1, 3], "numbers": [[0, 1], 2]}),
        json!({"message": "long", "text": "a long text", "objects": [{"a": 1, "b": 2}]}),
        json!({"inner": {"yes": true, "codes": 8}}),
    ] {
        assert_eq!(
            differences(same.as_object().unwrap(), &actual),
            [""; 0],
            "{same}"
        );
    }
    for other in [
        json!({"number": 1.04}),
        json!({"number": [1.04, 3]}),
        json!({"number": [0, 1, 2]}),
        json!({"number": null}),
        json!({"number": "1.01"}),
        json!({"numbers": [1]}),
        json!({"numbers": [1, 3]}),
        json!({"numbers": 3}),
        json!({"objects": [{"a": 1}]}),
        json!({"message": "short"}),
        json!({"text": "long"}),
        json!({"nothing": 0}),
        json!({"nothing": {"a": 1}}),
        json!({"inner": {"yes": false}}),
        json!({"inner": {"codes": 9}}),
        json!({"inner": {"unknown": null}}),
        json!({"inner": null}),
        json!({"unknown": null}),
    ] {
        assert_eq!(
            differences(other.as_object().unwrap(), &actual).len(),
            1,
            "{other}"
        );
    }
}

/// For the timer's resolution and the duration of a request.
const TOLERANCE: f64 = 0.02;
