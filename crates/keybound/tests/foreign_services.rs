//! The client against an independent implementation of the services: `tests/foreign/services.py`.
//!
//! The test cases are data, in `tests/foreign/cases`: for each leg, faults with the expected error; and the forms of valid
//! responses. Each has a test: "no Server header" of `metadata.json` is `metadata::no_server_header`. On Unix only: Python is not
//! available under Wine.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "a failed test shows its case, and why the behaviour is required"
)]

#[path = "support/captured_log.rs"]
mod captured_log;
#[path = "support/case.rs"]
mod case;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/leaks.rs"]
mod leaks;
#[path = "support/test_keys.rs"]
mod test_keys;

use case::{Case, RequestKind, assert_all_have_tests, find_case};
use foreign::ServiceSet;
use keybound::http::RequestBody;
use keybound::http::{Request, Response};
use keybound::keys::ProviderChain;
use keybound::{
    AccessToken, Claims, Error, ErrorKind, KeyRequirements, KeyStrength, TokenRequest, TokenSource,
    TokenType,
};
use serde_json::Value;
use std::error::Error as _;
use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::time::Duration;
use test_keys::{shared_key, slow_key};

/// Declares a module with a test for each case of a file.
macro_rules! cases {
    ($file:ident, $check:ident: $($name:ident)+) => {
        mod $file {
            $(
                #[test]
                fn $name() {
                    let case = super::find_case(stringify!($file), stringify!($name));
                    super::block_on(super::$check(stringify!($file), &case));
                }
            )+

            #[test]
            fn every_case_has_a_test() {
                super::assert_all_have_tests(stringify!($file), &[$(stringify!($name)),+]);
            }
        }
    };
}

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
    for (tls, forms) in [
        ("1.2", &[][..]),
        ("1.3", &[]),
        ("1.3", &["post-handshake", "close"]),
    ] {
        block_on(whole_flow(&Case::plain(tls, forms), slow_key()));
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
        call(&first, &services, None, Vec::new()).await.unwrap();
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
            let response = call(token, &services, None, Vec::new()).await.unwrap();
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
            let request = || TokenRequest::bearer_over_mtls(&services.audience, requirements);

            let token = client.acquire_token(&request()).await.unwrap();

            assert_eq!(token.token_type(), TokenType::Bearer);
            assert!(token.binding().is_none() && token.bound_client().is_err());
            services.set_fault(
                "token",
                &serde_json::json!({"set": {"token_type": "mtls_pop"}}),
            );
            let error = client.acquire_token(&request().force_refresh(true)).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TokenTypeMismatch);
        });
    }
}

#[test]
fn detects_leaks() {
    let secret = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzd29yZGZpc2gtMSJ9.c2lnbmF0dXJlLXN3b3JkZmlzaC0x";
    let middle = &secret[30..54];
    for text in [
        format!("x {secret} x"),
        format!("…{middle}…"),
        "-----BEGIN PRIVATE KEY-----".into(),
    ] {
        let result = catch_unwind(|| leaks::assert_none(&[secret.into()], &text, "it"));
        assert!(result.is_err(), "{text}");
    }
    leaks::assert_none(&[secret.into()], "eyJhbGciOiJub25lIn0 [redacted]", "it");
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

/// The acquisition fails as expected, caches nothing and leaks nothing, and the next one succeeds.
async fn check_fault(leg: &str, case: &Case) {
    let services = case.open_services();
    let client = case.client(&services, shared_key());
    let logged = captured_log::mark();
    services.set_fault(leg, &case.fault);

    let mut request = case.request(&services);
    if let Some(timeout) = case.timeout() {
        request = request.timeout(timeout);
    }
    let error = client.acquire_token(&request).await.unwrap_err();

    check_error(&error, leg, case);
    let log = services.log();
    let legs: Vec<_> = log
        .requests
        .iter()
        .map(|request| request.leg.as_str())
        .collect();
    assert!(
        !legs.iter().any(|requested| rank(requested) > rank(leg)),
        "no later leg is requested: {legs:?}"
    );
    assert!(log.sent < MAX_SENT, "{} bytes were sent", log.sent);

    services.set_fault(leg, &Value::Null);
    let token = client
        .acquire_token(&case.request(&services))
        .await
        .unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    let log_after = services.log();
    let new = &log_after.requests[log.requests.len()..];
    assert!(new.iter().any(|request| request.leg == "token"), "{new:?}");
    if rank(leg) < rank("token") {
        assert!(
            new.iter().any(|request| request.leg == "credential"),
            "{new:?}"
        );
    }
    if let Some(part) = &case.expect.then_requests {
        assert!(
            new.iter().any(|request| request.target.contains(part)),
            "{new:?}"
        );
    }
    let again = client
        .acquire_token(&case.request(&services))
        .await
        .unwrap();
    assert_eq!(again.source(), TokenSource::Cache);

    let mut shown = shown(&error);
    write!(shown, "{client:?} {token:?} {:?}", token.binding()).unwrap();
    assert_nothing_leaks(case, &services, &shown, &logged);
}

/// The call fails as expected and leaks nothing, and the next one succeeds with the same token.
async fn check_resource_fault(leg: &str, case: &Case) {
    let services = case.open_services();
    let client = case.client(&services, shared_key());
    let logged = captured_log::mark();
    let token = client
        .acquire_token(&case.request(&services))
        .await
        .unwrap();
    services.set_fault(leg, &case.fault);

    let result = call(&token, &services, case.timeout(), Vec::new()).await;

    let shown = match (result, case.expect.response) {
        (Ok(response), expected) => {
            assert_eq!(Some(response.status().as_u16()), expected);
            format!("{response:?}")
        }
        (Err(error), None) => {
            check_error(&error, leg, case);
            shown(&error)
        }
        (Err(error), Some(_)) => panic!("{error:?}"),
    };
    let targets: Vec<_> = services
        .log()
        .requests
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert!(!targets.contains(&"/elsewhere".to_owned()), "{targets:?}");
    services.set_fault(leg, &Value::Null);
    let response = call(&token, &services, None, Vec::new()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_nothing_leaks(case, &services, &shown, &logged);
}

/// The whole flow succeeds over each version of TLS.
async fn check_form(_: &str, case: &Case) {
    for tls in ["1.2", "1.3"] {
        if case.only_tls.as_deref().is_none_or(|only| only == tls) {
            println!("over TLS {tls}");
            whole_flow(&case.over(tls), shared_key()).await;
        }
    }
}

/// Acquires a token, reads it from the cache, and calls the resource with and without a body.
async fn whole_flow(case: &Case, keys: ProviderChain) {
    let services = case.open_services();
    let client = case.client(&services, keys);
    let logged = captured_log::mark();

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
        case.forms.contains(&"refresh-in".into())
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
        let response = call(&token, &services, None, body).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.bytes_limited(1 << 16).await.unwrap();
        let echo: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(echo["client"], client_id.as_str());
        assert_eq!(echo["length"], length);
        assert_eq!(echo["tls"], format!("TLSv{}", case.tls));
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
    assert_nothing_leaks(case, &services, &shown, &logged);
}

async fn call(
    token: &AccessToken,
    services: &ServiceSet,
    timeout: Option<Duration>,
    body: Vec<u8>,
) -> keybound::Result<Response> {
    let uri = format!("{}/things", services.resource);
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
    let text = report(error);
    for part in &expect.contains {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// The text for users: message, next step, causes.
fn report(error: &Error) -> String {
    let mut text = format!("{error}\n{}\n", error.next_step());
    let mut source = error.source();
    while let Some(cause) = source {
        writeln!(text, "{cause}").unwrap();
        source = cause.source();
    }
    text
}

/// Every text that an error has.
fn shown(error: &Error) -> String {
    format!(
        "{}\n{error:?}\n{error:#?}\n{:?}\n",
        report(error),
        error.service()
    )
}

fn assert_nothing_leaks(
    case: &Case,
    services: &ServiceSet,
    shown: &str,
    logged: &captured_log::Mark,
) {
    let mut secrets = services.log().secrets;
    assert!(!secrets.is_empty(), "the services issued a token");
    secrets.extend(case.secrets.iter().cloned());
    let log = logged.since();
    assert!(log.contains("keybound::step"), "the log is captured");
    leaks::assert_none(&secrets, shown, "the output");
    leaks::assert_none(&secrets, &log, "the log");
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

/// The position of a leg in the flow.
fn rank(leg: &str) -> usize {
    ["metadata", "credential", "token", "resource"]
        .iter()
        .position(|known| *known == leg)
        .unwrap()
}

/// Of 64 MB: what may be in buffers when the client closes the connection.
const MAX_SENT: u64 = 16 << 20;

cases! {
    metadata, check_fault:
    not_found
    no_server_header
    server_header_of_another_server
    body_of_64_mb
    body_of_64_mb_in_chunks
    head_of_2_mb
    redirect
    html
    empty_body
    no_clientid
    no_tenantid
    no_cuid
    neither_member_of_cuid
    no_attestationendpoint
    attestation_endpoint_over_http
    tenant_id_that_is_a_path
    metadata_of_another_identity
    status_400
    throttled
    server_error
    being_updated
    hang
    hang_in_the_body
    connection_closed_in_the_body
    connection_closed_in_a_chunked_body
    half_a_status_line
    reset
}

cases! {
    credential, check_fault:
    certificate_that_is_garbage
    certificate_that_is_not_base64
    certificate_in_pem
    empty_certificate
    bytes_after_the_certificate
    certificate_for_another_key
    expired_certificate
    certificate_that_is_not_yet_valid
    certificate_with_another_cn
    certificate_with_another_dc
    client_id_and_certificate_of_another_identity
    another_identity_than_requested
    endpoint_over_http
    endpoint_with_user_information
    endpoint_with_a_backslash
    token_endpoint_of_another_origin
    token_endpoint_over_http
    no_client_id
    no_tenant_id
    no_certificate
    no_identity_type
    no_mtls_authentication_endpoint
    tenant_id_that_is_a_path
    attestation_missing
    attestation_token_in_the_error_response
    attestation_token_in_a_malformed_response
    not_found
    redirect
    body_of_64_mb
    hang
    server_error
}

cases! {
    token, check_fault:
    bearer
    no_token_type
    no_access_token
    no_expires_in
    without_cnf
    cnf_of_another_kind
    cnf_of_another_certificate
    another_appid
    another_azp
    another_tid
    opaque_token
    token_with_a_line_break
    token_instead_of_a_number
    redirect
    garbage
    html_502
    error_code_1000610
    invalid_client_without_codes
    error_code_392196
    error_code_392200
    certificate_never_requested
    another_error_response
    access_token_in_the_error_response
    access_token_in_the_error_code
    access_token_in_headers
    body_of_64_mb
    hang
    hang_in_the_body
    reset_after_the_request
    reset_before_the_handshake
    client_certificate_rejected_in_the_handshake
    client_certificate_rejected_in_the_handshake_tls_1_2
    server_certificate_of_an_unknown_authority
    server_certificate_for_another_name
    server_certificate_for_another_name_host_is_an_address
    expired_server_certificate
}

cases! {
    resource, check_resource_fault:
    certificate_never_requested
    certificate_never_requested_and_body_too_large
    status_403
    redirect
    token_in_the_error_response
    client_certificate_rejected_in_the_handshake
    server_certificate_of_an_unknown_authority
    hang
}

cases! {
    forms, check_form:
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
