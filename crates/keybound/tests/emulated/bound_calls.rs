//! `http::BoundCalls`: placeholders in place of tokens.
use keybound::http::header::AUTHORIZATION;
use keybound::http::{BoundCalls, ConnectionInfo, Request, RequestBody, RequestTimeout};
use keybound::{AccessToken, ErrorKind, KeyRequirements, Stage};
use keybound_testing::emulated::{GRAPH, TestHost, VAULT, assert_failed, attested};
use std::time::Duration;

fn calls(host: &TestHost) -> BoundCalls {
    BoundCalls::new(&host.client(), KeyRequirements::attested()).unwrap()
}

fn get(url: &str, authorization: &[&str]) -> Request<RequestBody> {
    let mut request = Request::get(url);
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    request.body(RequestBody::empty()).unwrap()
}

/// The certificates that a resource received, by leg.
fn presented(host: &TestHost, leg: &str) -> Vec<bool> {
    let records = host.emulator.records().into_iter();
    let of_leg = records.filter(|record| record.leg == leg);
    of_leg
        .map(|record| record.client_certificate.is_some())
        .collect()
}

#[tokio::test]
async fn replaces_placeholders_by_the_token_of_their_scope() {
    let host = TestHost::new();
    let calls = calls(&host);
    for (scope, url) in [(VAULT, host.secret_url()), (GRAPH, host.graph_url())] {
        let placeholder = calls.placeholder(scope);
        for scheme in ["Bearer", "bearer"] {
            let request = get(&url, &[&format!("{scheme} {placeholder}")]);
            let response = calls.send(request).await.unwrap();
            assert_eq!(response.status(), 200, "{scope}");
            let token: &AccessToken = response.extensions().get().unwrap();
            assert_eq!(token.scope().resource(), scope);
            assert!(!placeholder.contains(token.secret().expose()));
            assert!(response.extensions().get::<ConnectionInfo>().is_some());
        }
    }
    assert_eq!((host.count("issue"), host.count("token")), (1, 2));
}

#[tokio::test]
async fn sends_neither_token_nor_certificate_without_a_placeholder() {
    let host = TestHost::new();
    let calls = calls(&host);
    for (leg, url) in [("vault", host.secret_url()), ("graph", host.graph_url())] {
        let response = calls.send(get(&url, &[])).await.unwrap();
        assert_eq!(response.status(), 401, "{leg}");
        assert!(response.extensions().get::<AccessToken>().is_none());
        assert!(response.extensions().get::<ConnectionInfo>().is_some());
        assert_eq!(presented(&host, leg), [false], "{leg}");
    }
    assert_eq!(host.count("token"), 0);
}

#[tokio::test]
async fn rejects_every_other_authorization_before_anything_is_sent() {
    let host = TestHost::new();
    let (calls, others) = (calls(&host), calls(&host));
    let token = host.client().acquire_token(&attested()).await.unwrap();
    let own = format!("Bearer {}", calls.placeholder(VAULT));
    let foreign = format!("Bearer {}", others.placeholder(VAULT));
    let secret = token.authorization();
    for values in [
        vec![foreign.as_str()],
        vec![secret.expose()],
        vec!["Bearer"],
        vec![""],
        vec!["Basic dTpw"],
        vec![&own[7..]],
        vec![&own, &own],
        vec![&own, "Basic dTpw"],
    ] {
        let request = get(&host.secret_url(), &values);
        let error = calls.send(request).await.unwrap_err();
        assert_failed(&error, ErrorKind::InvalidRequest, Stage::Request);
        assert!(!format!("{error:?}").contains(token.secret().expose()));
    }
    assert_eq!(host.count("vault-tls"), 0);
}

#[tokio::test]
async fn returns_redirects() {
    let host = TestHost::new();
    let calls = calls(&host);
    let authorization = format!("Bearer {}", calls.placeholder(GRAPH));
    for values in [vec![authorization.as_str()], vec![]] {
        host.inject("graph=redirect:/v1.0/applications");
        let response = calls.send(get(&host.graph_url(), &values)).await.unwrap();
        assert!(response.status().is_redirection(), "{values:?}");
    }
    assert_eq!(host.count("graph"), 2);
}

#[tokio::test]
async fn timeout_of_a_request_applies_with_and_without_a_token() {
    let host = TestHost::new();
    let calls = calls(&host);
    calls.acquire_token(VAULT).await.unwrap();
    let authorization = format!("Bearer {}", calls.placeholder(VAULT));
    for values in [vec![authorization.as_str()], vec![]] {
        host.inject("vault=hang");
        let mut request = get(&host.secret_url(), &values);
        let timeout = RequestTimeout(Duration::from_secs(1));
        request.extensions_mut().insert(timeout);
        let error = calls.send(request).await.unwrap_err();
        assert_failed(&error, ErrorKind::DeadlineExceeded, Stage::Resource);
    }
}
