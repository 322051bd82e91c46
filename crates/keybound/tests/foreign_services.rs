//! The client against an independent implementation of the services: `tests/foreign/services.py`.
//!
//! The forms of valid responses are data, in `tests/foreign/forms.json`. Each has a test: "byte by byte" is `forms::byte_by_byte`.
//! On Unix only: Python is not available under Wine.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::print_stdout, reason = "a failing test shows its case")]

#[path = "support/case.rs"]
mod case;
#[path = "support/foreign.rs"]
mod foreign;

use case::{Case, RequestKind, find_case};
use foreign::ServiceSet;
use keybound::http::RequestBody;
use keybound::http::{Request, Response};
use keybound::keys::ProviderChain;
use keybound::{
    AccessToken, Claims, ErrorKind, KeyRequirements, KeyStrength, TokenRequest, TokenSource,
    TokenType,
};
use keybound_keys::SigningCost;
use keybound_testing::{CapturedLog, FixedKeyProvider, TestKey, assert_no_leak};
use serde_json::Value;
use std::sync::Arc;

#[test]
fn platform_key_completes_the_whole_flow() {
    for tls in ["1.2", "1.3"] {
        block_on(whole_flow(
            &Case::plain(tls, &[]),
            ProviderChain::platform(),
        ));
    }
}

#[test]
fn slow_custom_key_completes_the_whole_flow() {
    let key = Arc::new(TestKey::new().with_signing_cost(SigningCost::Slow));
    for (tls, forms) in [
        ("1.2", &[][..]),
        ("1.3", &[]),
        ("1.3", &["post-handshake", "close"]),
    ] {
        block_on(whole_flow(
            &Case::plain(tls, forms),
            FixedKeyProvider::chain(key.clone()),
        ));
    }
}

#[test]
fn claims_challenge_mints_a_certificate_for_new_connections() {
    block_on(async {
        let case = Case::plain("1.3", &[]);
        let services = case.open_services();
        let client = case.client(&services, shared_key());
        let first = client
            .acquire_token(&case.request(&services))
            .await
            .unwrap();
        call(&first, &services, Vec::new()).await.unwrap();
        let before = services.log().requests.len();

        let claims = Claims::parse(r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#);
        let request = case.request(&services).claims(claims.unwrap());
        let second = client.acquire_token(&request).await.unwrap();

        let log = services.log();
        let new = &log.requests[before..];
        let legs: Vec<_> = new.iter().map(|request| request.leg.as_str()).collect();
        assert_eq!(legs, ["metadata", "credential", "token"]);
        assert!(new[1].target.contains("bypass_cache=true"), "{new:?}");
        // The resource checks that each token meets its own certificate.
        for token in [&first, &second, &first] {
            let response = call(token, &services, Vec::new()).await.unwrap();
            assert_eq!(response.status(), 200);
        }
        let request = Request::get(&services.resource).body(RequestBody::empty());
        let of_first = first.bound_client().unwrap();
        let crossed = of_first.send(&second, request.unwrap()).await;
        assert_eq!(crossed.unwrap_err().kind(), ErrorKind::BindingMismatch);
    });
}

#[test]
fn returns_bearer_tokens_only_when_requested() {
    for tls in ["1.2", "1.3"] {
        block_on(async {
            let case = Case::plain(tls, &[]);
            let services = case.open_services();
            let client = case.client(&services, shared_key());
            let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
            let request = TokenRequest::bearer_over_mtls(&services.audience, requirements);

            let token = client.acquire_token(&request).await.unwrap();

            assert_eq!(token.token_type(), TokenType::Bearer);
            assert!(token.binding().is_none() && token.bound_client().is_err());
        });
    }
}

#[test]
fn services_pass_their_own_tests() {
    let output = foreign::python()
        .args(["-m", "unittest", "--quiet", "test_services"])
        .output()
        .expect("Python is needed: /usr/bin/python3, or the one that KEYBOUND_PYTHON names");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(!stderr.contains("Ran 0 tests"), "{stderr}");
}

/// The whole flow succeeds over each version of TLS.
fn check_form(name: &str) {
    let case = find_case(name);
    for tls in ["1.2", "1.3"] {
        if case.only_tls.as_deref().is_none_or(|only| only == tls) {
            println!("over TLS {tls}");
            block_on(whole_flow(&case.over(tls), shared_key()));
        }
    }
}

/// Acquires a token, reads it from the cache, and calls the resource with and without a body.
async fn whole_flow(case: &Case, keys: ProviderChain) {
    let services = case.open_services();
    let client = case.client(&services, keys);
    let logged = CapturedLog::of_process().position();

    let token = client
        .acquire_token(&case.request(&services))
        .await
        .unwrap();

    let client_id = match case.request {
        Some(RequestKind::UserAssigned) => &services.user_assigned_id,
        _ => &services.client_id,
    };
    assert_eq!(token.token_type(), TokenType::MtlsPop);
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    assert_eq!(
        token.refresh_on().is_some(),
        case.settings["forms"]
            .as_array()
            .unwrap()
            .contains(&"refresh-in".into())
    );
    let binding = token.binding().unwrap();
    assert!(binding.client_id().matches(client_id));
    assert!(binding.tenant_id().matches(&services.tenant_id));
    let attested = if case.request == Some(RequestKind::Attested) {
        "attested"
    } else {
        "none"
    };
    assert_eq!(binding.attestation().as_str(), attested);
    let again = client
        .acquire_token(&case.request(&services))
        .await
        .unwrap();
    assert_eq!(again.source(), TokenSource::Cache);

    for body in [Vec::new(), vec![b'x'; 70_000], Vec::new()] {
        let length = body.len();
        let response = call(&token, &services, body).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.bytes_limited(1 << 16).await.unwrap();
        let echo: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(echo["client"], client_id.as_str());
        assert_eq!(echo["length"], length);
        let tls = case.settings["tls"].as_str().unwrap();
        assert_eq!(echo["tls"], format!("TLSv{tls}"));
    }
    let log = services.log();
    assert!(log.rejections.is_empty(), "{:?}", log.rejections);
    let count = |leg| {
        log.requests
            .iter()
            .filter(|request| request.leg == leg)
            .count()
    };
    assert_eq!(
        [count("metadata"), count("credential"), count("token")],
        [1, 1, 1]
    );
    let shown = format!("{client:?} {token:?} {binding:?}");
    assert_nothing_leaks(&services, &shown, logged);
}

/// One software key for all cases: creating keys is slow and not their subject.
fn shared_key() -> ProviderChain {
    FixedKeyProvider::chain(keybound_testing::shared_key())
}

async fn call(
    token: &AccessToken,
    services: &ServiceSet,
    body: Vec<u8>,
) -> keybound::Result<Response> {
    let uri = format!("{}/things", services.resource);
    let request = match body.is_empty() {
        true => Request::get(uri).body(RequestBody::empty()),
        false => Request::post(uri).body(RequestBody::full(body)),
    };
    token.bound_client()?.send(token, request.unwrap()).await
}

fn assert_nothing_leaks(services: &ServiceSet, shown: &str, logged: usize) {
    let secrets = services.log().secrets;
    assert!(!secrets.is_empty(), "the services issued a token");
    let log = CapturedLog::of_process().text_since(logged);
    assert!(log.contains("keybound::step"), "the log is captured");
    assert_no_leak(&secrets, shown, "the output");
    assert_no_leak(&secrets, &log, "the log");
}

/// Captures the log from the beginning: tracing may cache that a callsite is disabled which is reached while the capture starts.
fn block_on(work: impl Future<Output = ()>) {
    CapturedLog::of_process();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

mod forms {
    keybound_testing::cases! {
        super::check_form, super::case::names();
        plain
        chunked
        lower_case_header_names
        connections_that_serve_one_request
        bodies_that_end_with_the_connection
        byte_by_byte
        byte_by_byte_in_chunks
        interim_responses
        no_reason_phrase
        guids_and_token_type_in_another_case
        certificate_names_as_utf8string
        issuer_with_an_rsa_key
        endpoint_without_a_scheme
        endpoint_with_path_and_query
        token_endpoint
        token_endpoint_beside_an_endpoint_without_a_scheme
        unknown_members
        numbers_as_text
        scale_set
        server_certificate_for_an_address_only
        endpoint_by_address_without_a_scheme
        attestation_required
        user_assigned_identity
        certificate_requested_after_the_http_request
        vault_that_requests_the_certificate_after_the_http_request
        one_request_per_connection_certificate_requested_after_it
        everything_at_once
    }
}
