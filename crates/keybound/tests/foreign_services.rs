//! The client against services that share nothing with it but the protocol: `tests/foreign/services.py`.
//!
//! The conversations are data, in `tests/foreign/cases`: for each leg what goes wrong there and how that must end, and
//! the forms of right answers. On Unix only: Python is not to be had under Wine.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "support/captured_log.rs"]
mod captured_log;
#[path = "support/case.rs"]
mod case;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/leaks.rs"]
mod leaks;
#[path = "support/own_keys.rs"]
mod own_keys;

use case::{Ask, Case, cases, forms, run_all};
use foreign::World;
use keybound::http::RequestBody;
use keybound::http::{Request, Response};
use keybound::keys::ProviderChain;
use keybound::{
    AccessToken, Claims, Error, ErrorKind, KeyRequirements, KeyStrength, TokenRequest, TokenSource,
    TokenType,
};
use own_keys::{shared_key, slow_key};
use serde_json::Value;
use std::error::Error as _;
use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::time::Duration;

#[test]
fn faults_of_the_metadata_call_end_as_they_must() {
    run_all(&cases("metadata.json"), |case| {
        block_on(fault_ends_as_it_must("metadata", case))
    });
}

#[test]
fn faults_of_the_issued_credential_end_as_they_must() {
    run_all(&cases("credential.json"), |case| {
        block_on(fault_ends_as_it_must("credential", case))
    });
}

#[test]
fn faults_of_the_token_endpoint_end_as_they_must() {
    run_all(&cases("token.json"), |case| {
        block_on(fault_ends_as_it_must("token", case))
    });
}

#[test]
fn faults_of_the_resource_end_as_they_must() {
    run_all(&cases("resource.json"), |case| {
        block_on(resource_fault_ends_as_it_must(case))
    });
}

#[test]
fn every_form_of_right_answers_is_taken_over_tls_1_2() {
    run_all(&forms("1.2"), |case| {
        block_on(whole_flow(case, shared_key()))
    });
}

#[test]
fn every_form_of_right_answers_is_taken_over_tls_1_3() {
    run_all(&forms("1.3"), |case| {
        block_on(whole_flow(case, shared_key()))
    });
}

#[test]
fn the_platforms_own_key_goes_through_the_whole_flow() {
    for tls in ["1.2", "1.3"] {
        block_on(whole_flow(
            &Case::plain(tls, &[]),
            ProviderChain::platform(),
        ));
    }
}

#[test]
fn a_slow_key_of_another_make_goes_through_the_whole_flow() {
    for (tls, forms) in [
        ("1.2", &[][..]),
        ("1.3", &[]),
        ("1.3", &["post-handshake", "close"]),
    ] {
        block_on(whole_flow(&Case::plain(tls, forms), slow_key()));
    }
}

#[test]
fn a_claims_challenge_has_a_certificate_minted_first_and_connections_follow_it() {
    block_on(async {
        let case = Case::plain("1.3", &[]);
        let world = case.open_world();
        let client = case.client(&world, shared_key());
        let first = client.acquire_token(&case.request(&world)).await.unwrap();
        call(&first, &world, None, Vec::new()).await.unwrap();
        let before = world.log().requests.len();

        let claims = Claims::parse(r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#);
        let request = case.request(&world).claims(claims.unwrap());
        let second = client.acquire_token(&request).await.unwrap();

        let log = world.log();
        let new = &log.requests[before..];
        let legs: Vec<_> = new.iter().map(|asked| asked.leg.as_str()).collect();
        assert_eq!(legs, ["metadata", "credential", "token"]);
        assert!(new[1].target.contains("bypass_cache=true"), "{new:?}");
        // The resource checks that each token meets its own certificate.
        for token in [&first, &second, &first] {
            let answer = call(token, &world, None, Vec::new()).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        let request = Request::get(&world.resource).body(RequestBody::empty());
        let of_first = first.bound_client().unwrap();
        let crossed = of_first.send(&second, request.unwrap()).await;
        assert_eq!(crossed.unwrap_err().kind(), ErrorKind::BindingMismatch);
    });
}

#[test]
fn a_bearer_token_is_had_only_where_it_is_asked_for() {
    for tls in ["1.2", "1.3"] {
        block_on(async {
            let case = Case::plain(tls, &[]);
            let world = case.open_world();
            let client = case.client(&world, shared_key());
            let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
            let request = || TokenRequest::bearer_over_mtls(&world.audience, requirements);

            let token = client.acquire_token(&request()).await.unwrap();

            assert_eq!(token.token_type(), TokenType::Bearer);
            assert!(token.binding().is_none() && token.bound_client().is_err());
            world.set_fault(
                "token",
                &serde_json::json!({"set": {"token_type": "mtls_pop"}}),
            );
            let error = client.acquire_token(&request().force_refresh(true)).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TokenTypeMismatch);
        });
    }
}

#[test]
fn leaks_would_be_seen() {
    let secret = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzd29yZGZpc2gtMSJ9.c2lnbmF0dXJlLXN3b3JkZmlzaC0x";
    let middle = &secret[30..54];
    for text in [
        format!("x {secret} x"),
        format!("…{middle}…"),
        "-----BEGIN PRIVATE KEY-----".into(),
    ] {
        let seen = catch_unwind(|| leaks::assert_none(&[secret.into()], &text, "it"));
        assert!(seen.is_err(), "{text}");
    }
    leaks::assert_none(&[secret.into()], "eyJhbGciOiJub25lIn0 [redacted]", "it");
}

#[test]
fn the_services_refuse_what_the_real_ones_refuse() {
    let output = foreign::python()
        .args(["-m", "unittest", "--quiet", "test_services"])
        .output()
        .expect("Python is needed: /usr/bin/python3, or the one that KEYBOUND_PYTHON names");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}

/// The acquisition fails as the case says, nothing of it is kept, nothing leaks, and the next one succeeds.
async fn fault_ends_as_it_must(leg: &str, case: &Case) {
    let world = case.open_world();
    let client = case.client(&world, shared_key());
    let logged = captured_log::mark();
    world.set_fault(leg, &case.fault);

    let mut request = case.request(&world);
    if let Some(timeout) = case.timeout() {
        request = request.timeout(timeout);
    }
    let error = client.acquire_token(&request).await.unwrap_err();

    check_error(&error, leg, case);
    let log = world.log();
    let legs: Vec<_> = log
        .requests
        .iter()
        .map(|asked| asked.leg.as_str())
        .collect();
    assert!(
        !legs.iter().any(|asked| rank(asked) > rank(leg)),
        "it goes no further: {legs:?}"
    );
    assert!(log.sent < MOST_SENT, "{} bytes were taken", log.sent);

    world.set_fault(leg, &Value::Null);
    let token = client.acquire_token(&case.request(&world)).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    let healed = world.log();
    let new = &healed.requests[log.requests.len()..];
    assert!(new.iter().any(|asked| asked.leg == "token"), "{new:?}");
    if rank(leg) < rank("token") {
        assert!(new.iter().any(|asked| asked.leg == "credential"), "{new:?}");
    }
    if let Some(part) = &case.expect.then_asks {
        assert!(
            new.iter().any(|asked| asked.target.contains(part)),
            "{new:?}"
        );
    }
    let again = client.acquire_token(&case.request(&world)).await.unwrap();
    assert_eq!(again.source(), TokenSource::Cache);

    let mut shown = shown(&error);
    write!(shown, "{client:?} {token:?} {:?}", token.binding()).unwrap();
    assert_nothing_leaks(case, &world, &shown, &logged);
}

/// The call fails as the case says, nothing leaks, and the next one succeeds with the same token.
async fn resource_fault_ends_as_it_must(case: &Case) {
    let world = case.open_world();
    let client = case.client(&world, shared_key());
    let logged = captured_log::mark();
    let token = client.acquire_token(&case.request(&world)).await.unwrap();
    world.set_fault("resource", &case.fault);

    let result = call(&token, &world, case.timeout(), Vec::new()).await;

    let shown = match (result, case.expect.answer) {
        (Ok(answer), expected) => {
            assert_eq!(Some(answer.status().as_u16()), expected);
            format!("{answer:?}")
        }
        (Err(error), None) => {
            check_error(&error, "resource", case);
            shown(&error)
        }
        (Err(error), Some(_)) => panic!("{error:?}"),
    };
    let targets: Vec<_> = world
        .log()
        .requests
        .into_iter()
        .map(|asked| asked.target)
        .collect();
    assert!(!targets.contains(&"/elsewhere".to_owned()), "{targets:?}");
    world.set_fault("resource", &Value::Null);
    let answer = call(&token, &world, None, Vec::new()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_nothing_leaks(case, &world, &shown, &logged);
}

/// Token, cache, and calls with and without a body; what the services say of them.
async fn whole_flow(case: &Case, keys: ProviderChain) {
    let world = case.open_world();
    let client = case.client(&world, keys);
    let logged = captured_log::mark();

    let token = client.acquire_token(&case.request(&world)).await.unwrap();

    let client_id = match case.ask {
        Some(Ask::UserAssigned) => &world.user_assigned_id,
        _ => &world.client_id,
    };
    assert_eq!(token.token_type(), TokenType::MtlsPop);
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    assert_eq!(
        token.refresh_on().is_some(),
        case.forms.contains(&"refresh-in".into())
    );
    let binding = token.binding().unwrap();
    assert!(binding.client_id().matches(client_id));
    assert!(binding.tenant_id().matches(&world.tenant_id));
    let attested = if case.ask == Some(Ask::Attested) {
        "attested"
    } else {
        "none"
    };
    assert_eq!(binding.attestation().as_str(), attested);
    let again = client.acquire_token(&case.request(&world)).await.unwrap();
    assert_eq!(again.source(), TokenSource::Cache);

    for body in [Vec::new(), vec![b'x'; 70_000], Vec::new()] {
        let length = body.len();
        let answer = call(&token, &world, None, body).await.unwrap();
        assert_eq!(answer.status(), 200);
        let said = answer.bytes_limited(1 << 16).await.unwrap();
        let said: Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(said["client"], client_id.as_str());
        assert_eq!(said["length"], length);
        assert_eq!(said["tls"], format!("TLSv{}", case.tls));
    }
    let log = world.log();
    assert!(log.refusals.is_empty(), "{:?}", log.refusals);
    let count = |leg| log.requests.iter().filter(|asked| asked.leg == leg).count();
    assert_eq!(
        [count("metadata"), count("credential"), count("token")],
        [1, 1, 1]
    );
    let shown = format!("{client:?} {token:?} {binding:?}");
    assert_nothing_leaks(case, &world, &shown, &logged);
}

async fn call(
    token: &AccessToken,
    world: &World,
    timeout: Option<Duration>,
    body: Vec<u8>,
) -> keybound::Result<Response> {
    let uri = format!("{}/things", world.resource);
    let request = match body.is_empty() {
        true => Request::get(uri).body(RequestBody::empty()),
        false => Request::post(uri).body(RequestBody::full(body)),
    };
    let client = token.bound_client()?;
    let client = match timeout {
        Some(timeout) => client.with_timeout(timeout),
        None => client,
    };
    client.send(token, request.unwrap()).await
}

fn check_error(error: &Error, leg: &str, case: &Case) {
    let expect = &case.expect;
    assert_eq!(
        (error.kind().code(), error.stage().as_str()),
        (expect.code.as_str(), leg),
        "{error:?}"
    );
    assert_eq!(error.status(), expect.status, "{error:?}");
    assert_eq!(error.is_retryable(), expect.retryable, "{error:?}");
    let codes = error.service().map(|service| service.codes.clone());
    assert_eq!(codes.unwrap_or_default(), expect.service_codes, "{error:?}");
    let words = words(error);
    for part in &expect.says {
        assert!(words.contains(part), "{part:?} is not said in\n{words}");
    }
}

/// What a person gets to read: message, next step, causes.
fn words(error: &Error) -> String {
    let mut words = format!("{error}\n{}\n", error.next_step());
    let mut source = error.source();
    while let Some(cause) = source {
        writeln!(words, "{cause}").unwrap();
        source = cause.source();
    }
    words
}

/// All that an error can show of itself.
fn shown(error: &Error) -> String {
    format!(
        "{}\n{error:?}\n{error:#?}\n{:?}\n",
        words(error),
        error.service()
    )
}

fn assert_nothing_leaks(case: &Case, world: &World, shown: &str, logged: &captured_log::Mark) {
    let mut secrets = world.log().secrets;
    assert!(!secrets.is_empty(), "the services gave out a token");
    secrets.extend(case.secrets.iter().cloned());
    let log = logged.since();
    assert!(log.contains("keybound::step"), "the log is captured");
    leaks::assert_none(&secrets, shown, "what is shown");
    leaks::assert_none(&secrets, &log, "the log");
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

/// How far in the flow a leg is.
fn rank(leg: &str) -> usize {
    ["metadata", "credential", "token", "resource"]
        .iter()
        .position(|known| *known == leg)
        .unwrap()
}

/// Of 64 MB: what may lie in buffers when the client has closed the connection.
const MOST_SENT: u64 = 16 << 20;
